//! Incidents of all endpoints are listed by their beginning.

use sea_orm_migration::prelude::*;

#[derive(DeriveMigrationName)]
pub(crate) struct Migration;

const NAME: &str = "incidents_by_start";

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        // The id too, which decides among those of one instant.
        let index =
            Index::create().name(NAME).table(Incidents::Table).col(Incidents::StartedAt).col(Incidents::Id).to_owned();
        manager.create_index(index).await
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        manager.drop_index(Index::drop().name(NAME).table(Incidents::Table).to_owned()).await
    }
}

#[derive(DeriveIden)]
enum Incidents {
    Table,
    Id,
    StartedAt,
}
