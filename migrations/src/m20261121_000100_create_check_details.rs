//! `check_details`: what explains the newest checks of an endpoint that were not good. JSON, read as a whole.

use sea_orm_migration::prelude::*;

#[derive(DeriveMigrationName)]
pub(crate) struct Migration;

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        manager
            .create_table(
                Table::create()
                    .table(CheckDetails::Table)
                    .col(ColumnDef::new(CheckDetails::EndpointId).big_integer().not_null())
                    .col(ColumnDef::new(CheckDetails::ScheduledAt).big_integer().not_null())
                    .col(ColumnDef::new(CheckDetails::Detail).json().not_null())
                    .primary_key(Index::create().col(CheckDetails::EndpointId).col(CheckDetails::ScheduledAt))
                    .to_owned(),
            )
            .await
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        manager.drop_table(Table::drop().table(CheckDetails::Table).to_owned()).await
    }
}

#[derive(DeriveIden)]
enum CheckDetails {
    Table,
    EndpointId,
    ScheduledAt,
    Detail,
}
