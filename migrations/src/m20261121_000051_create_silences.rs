//! `silences`: of which endpoints nobody is told for a time. What was set is JSON, read as a whole.

use sea_orm_migration::prelude::*;

#[derive(DeriveMigrationName)]
pub(crate) struct Migration;

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        manager
            .create_table(
                Table::create()
                    .table(Silences::Table)
                    .col(ColumnDef::new(Silences::Id).big_integer().not_null().auto_increment().primary_key())
                    .col(ColumnDef::new(Silences::Settings).json().not_null())
                    .col(ColumnDef::new(Silences::CreatedAt).big_integer().not_null())
                    .col(ColumnDef::new(Silences::CreatedBy).text().not_null())
                    .col(ColumnDef::new(Silences::UpdatedAt).big_integer().not_null())
                    .col(ColumnDef::new(Silences::Revision).big_integer().not_null())
                    .to_owned(),
            )
            .await
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        manager.drop_table(Table::drop().table(Silences::Table).to_owned()).await
    }
}

#[derive(DeriveIden)]
enum Silences {
    Table,
    Id,
    Settings,
    CreatedAt,
    CreatedBy,
    UpdatedAt,
    Revision,
}
