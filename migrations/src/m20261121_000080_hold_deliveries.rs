//! Deliveries that wait for a digest, and the digest that they went into.

use sea_orm_migration::prelude::*;

#[derive(DeriveMigrationName)]
pub(crate) struct Migration;

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        // One column a statement: SQLite knows no other way.
        for column in columns() {
            manager.alter_table(Table::alter().table(Tables::Deliveries).add_column(column).to_owned()).await?;
        }
        // What a channel was sent lately is looked at when a deliverer begins.
        let index = Index::create()
            .name("deliveries_by_channel_and_time")
            .table(Tables::Deliveries)
            .col("channel")
            .col("created_at")
            .to_owned();
        manager.create_index(index).await
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let index = Index::drop().name("deliveries_by_channel_and_time").table(Tables::Deliveries).to_owned();
        manager.drop_index(index).await?;
        for column in columns() {
            let name = column.get_column_name().clone();
            let table = Table::alter().table(Tables::Deliveries).drop_column(Alias::new(name)).to_owned();
            manager.alter_table(table).await?;
        }
        Ok(())
    }
}

fn columns() -> [ColumnDef; 2] {
    [
        // When the digest goes out that it waits for.
        ColumnDef::new("held_until").big_integer().take(),
        // The notification that tells it, in the state `grouped`.
        ColumnDef::new("digest_id").text().take(),
    ]
}

#[derive(DeriveIden)]
enum Tables {
    Deliveries,
}
