//! What keeps a notification back has a name: the parent that is down.

use sea_orm_migration::prelude::*;

#[derive(DeriveMigrationName)]
pub(crate) struct Migration;

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let column = ColumnDef::new(Notifications::HeldName).text().take();
        manager.alter_table(Table::alter().table(Notifications::Table).add_column(column).to_owned()).await
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let alter = Table::alter().table(Notifications::Table).drop_column(Notifications::HeldName).to_owned();
        manager.alter_table(alter).await
    }
}

#[derive(DeriveIden)]
enum Notifications {
    Table,
    HeldName,
}
