//! `channels`: those made through the API. Those of the configuration are not here.

use sea_orm_migration::prelude::*;

#[derive(DeriveMigrationName)]
pub(crate) struct Migration;

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        manager
            .create_table(
                Table::create()
                    .table(Channels::Table)
                    .col(ColumnDef::new(Channels::Id).big_integer().not_null().auto_increment().primary_key())
                    .col(ColumnDef::new(Channels::Name).text().not_null().unique_key())
                    .col(ColumnDef::new(Channels::Settings).json().not_null())
                    .col(ColumnDef::new(Channels::CreatedAt).big_integer().not_null())
                    .col(ColumnDef::new(Channels::UpdatedAt).big_integer().not_null())
                    .col(ColumnDef::new(Channels::Revision).big_integer().not_null())
                    .to_owned(),
            )
            .await
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        manager.drop_table(Table::drop().table(Channels::Table).to_owned()).await
    }
}

#[derive(DeriveIden)]
enum Channels {
    Table,
    Id,
    Name,
    Settings,
    CreatedAt,
    UpdatedAt,
    Revision,
}
