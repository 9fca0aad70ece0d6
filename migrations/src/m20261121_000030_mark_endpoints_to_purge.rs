//! What is left of an archived endpoint may be marked, to be removed piece by piece.

use sea_orm_migration::prelude::*;

#[derive(DeriveMigrationName)]
pub(crate) struct Migration;

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let column = ColumnDef::new(Endpoints::PurgeAt).big_integer().take();
        manager.alter_table(Table::alter().table(Endpoints::Table).add_column(column).to_owned()).await
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        manager.alter_table(Table::alter().table(Endpoints::Table).drop_column(Endpoints::PurgeAt).to_owned()).await
    }
}

#[derive(DeriveIden)]
enum Endpoints {
    Table,
    PurgeAt,
}
