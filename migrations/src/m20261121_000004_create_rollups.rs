//! `rollups`: checks counted by hour and by day, kept in the order in which windows are summed.

use sea_orm_migration::prelude::*;
use sea_orm_migration::sea_orm::DbBackend;

#[derive(DeriveMigrationName)]
pub(crate) struct Migration;

const COUNTERS: [Rollups; 14] = [
    Rollups::Up,
    Rollups::Degraded,
    Rollups::Down,
    Rollups::Missed,
    Rollups::Maintenance,
    Rollups::Retried,
    Rollups::DnsUs,
    Rollups::ConnectUs,
    Rollups::TlsUs,
    Rollups::FirstByteUs,
    Rollups::TransferUs,
    Rollups::TotalUs,
    Rollups::MinUs,
    Rollups::MaxUs,
];

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let mut table = Table::create();
        table
            .table(Rollups::Table)
            .col(ColumnDef::new(Rollups::EndpointId).big_integer().not_null())
            .col(ColumnDef::new(Rollups::Period).text().not_null())
            .col(ColumnDef::new(Rollups::StartAt).big_integer().not_null());
        for counter in COUNTERS {
            table.col(ColumnDef::new(counter).big_integer().not_null());
        }
        table
            .col(ColumnDef::new(Rollups::Sketch).blob())
            .primary_key(Index::create().col(Rollups::EndpointId).col(Rollups::Period).col(Rollups::StartAt));
        if manager.get_database_backend() == DbBackend::Sqlite {
            // The rows lie in the tree of their key, so a window is one walk; the query builder has no word for it.
            let sql = format!("{} WITHOUT ROWID", table.to_string(SqliteQueryBuilder));
            manager.get_connection().execute_unprepared(&sql).await?;
        } else {
            manager.create_table(table).await?;
        }
        // Only hours of the last days have a sketch: the job that drops them finds the old ones here.
        manager
            .create_index(
                Index::create()
                    .name("rollups_hour_sketches")
                    .table(Rollups::Table)
                    .col(Rollups::StartAt)
                    .and_where(Expr::col(Rollups::Period).eq("hour"))
                    .and_where(Expr::col(Rollups::Sketch).is_not_null())
                    .to_owned(),
            )
            .await
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        manager.drop_table(Table::drop().table(Rollups::Table).to_owned()).await
    }
}

#[derive(DeriveIden, Clone, Copy)]
enum Rollups {
    Table,
    EndpointId,
    Period,
    StartAt,
    Up,
    Degraded,
    Down,
    Missed,
    Maintenance,
    Retried,
    DnsUs,
    ConnectUs,
    TlsUs,
    FirstByteUs,
    TransferUs,
    TotalUs,
    MinUs,
    MaxUs,
    Sketch,
}
