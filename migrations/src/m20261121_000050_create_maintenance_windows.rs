//! `maintenance_windows`: the windows made through the API. What was set is JSON, read as a whole.

use sea_orm_migration::prelude::*;

#[derive(DeriveMigrationName)]
pub(crate) struct Migration;

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        manager
            .create_table(
                Table::create()
                    .table(MaintenanceWindows::Table)
                    .col(ColumnDef::new(MaintenanceWindows::Id).big_integer().not_null().auto_increment().primary_key())
                    .col(ColumnDef::new(MaintenanceWindows::Name).text().not_null().unique_key())
                    .col(ColumnDef::new(MaintenanceWindows::Settings).json().not_null())
                    .col(ColumnDef::new(MaintenanceWindows::CreatedAt).big_integer().not_null())
                    .col(ColumnDef::new(MaintenanceWindows::CreatedBy).text().not_null())
                    .col(ColumnDef::new(MaintenanceWindows::UpdatedAt).big_integer().not_null())
                    .col(ColumnDef::new(MaintenanceWindows::Revision).big_integer().not_null())
                    .to_owned(),
            )
            .await
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        manager.drop_table(Table::drop().table(MaintenanceWindows::Table).to_owned()).await
    }
}

#[derive(DeriveIden)]
enum MaintenanceWindows {
    Table,
    Id,
    Name,
    Settings,
    CreatedAt,
    CreatedBy,
    UpdatedAt,
    Revision,
}
