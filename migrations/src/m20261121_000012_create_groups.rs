//! `groups`: the groups made through the API. Those of the configuration are not here.

use sea_orm_migration::prelude::*;

#[derive(DeriveMigrationName)]
pub(crate) struct Migration;

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        manager
            .create_table(
                Table::create()
                    .table(Groups::Table)
                    .col(ColumnDef::new(Groups::Id).big_integer().not_null().auto_increment().primary_key())
                    .col(ColumnDef::new(Groups::Name).text().not_null().unique_key())
                    .col(ColumnDef::new(Groups::Description).text().not_null())
                    .col(ColumnDef::new(Groups::Spec).json().not_null())
                    .col(ColumnDef::new(Groups::Revision).big_integer().not_null())
                    .col(ColumnDef::new(Groups::CreatedAt).big_integer().not_null())
                    .col(ColumnDef::new(Groups::UpdatedAt).big_integer().not_null())
                    .to_owned(),
            )
            .await
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        manager.drop_table(Table::drop().table(Groups::Table).to_owned()).await
    }
}

#[derive(DeriveIden)]
enum Groups {
    Table,
    Id,
    Name,
    Description,
    Spec,
    Revision,
    CreatedAt,
    UpdatedAt,
}
