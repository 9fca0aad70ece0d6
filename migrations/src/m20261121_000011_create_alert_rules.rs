//! `alert_rules`: thresholds over the monitor's own metrics, and which of them have fired.

use sea_orm_migration::prelude::*;

#[derive(DeriveMigrationName)]
pub(crate) struct Migration;

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        manager
            .create_table(
                Table::create()
                    .table(AlertRules::Table)
                    .col(ColumnDef::new(AlertRules::Id).big_integer().not_null().auto_increment().primary_key())
                    .col(ColumnDef::new(AlertRules::Settings).json().not_null())
                    .col(ColumnDef::new(AlertRules::Firing).json())
                    .col(ColumnDef::new(AlertRules::CreatedAt).big_integer().not_null())
                    .col(ColumnDef::new(AlertRules::CreatedBy).text().not_null())
                    .col(ColumnDef::new(AlertRules::UpdatedAt).big_integer().not_null())
                    .col(ColumnDef::new(AlertRules::Revision).big_integer().not_null())
                    .to_owned(),
            )
            .await
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        manager.drop_table(Table::drop().table(AlertRules::Table).to_owned()).await
    }
}

#[derive(DeriveIden)]
enum AlertRules {
    Table,
    Id,
    Settings,
    Firing,
    CreatedAt,
    CreatedBy,
    UpdatedAt,
    Revision,
}
