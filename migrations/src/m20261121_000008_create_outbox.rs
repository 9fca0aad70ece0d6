//! `notifications` and `deliveries`: what is told is a row before it is an action.

use sea_orm_migration::prelude::*;
use sea_orm_migration::sea_orm::DbBackend;

#[derive(DeriveMigrationName)]
pub(crate) struct Migration;

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let mut id = ColumnDef::new(Notifications::Id);
        id.text().not_null().primary_key();
        if manager.get_database_backend() == DbBackend::Postgres {
            // Lists are in the order of their bytes, as SQLite has it, whatever the database's language.
            id.extra("COLLATE \"C\"");
        }
        manager
            .create_table(
                Table::create()
                    .table(Notifications::Table)
                    .col(&mut id)
                    .col(ColumnDef::new(Notifications::EndpointId).big_integer())
                    .col(ColumnDef::new(Notifications::IncidentId).big_integer())
                    .col(ColumnDef::new(Notifications::Event).text().not_null())
                    .col(ColumnDef::new(Notifications::OccurredAt).big_integer().not_null())
                    .col(ColumnDef::new(Notifications::Facts).json().not_null())
                    .col(ColumnDef::new(Notifications::HeldBy).text())
                    .col(ColumnDef::new(Notifications::CreatedAt).big_integer().not_null())
                    .to_owned(),
            )
            .await?;
        for (name, column) in [
            ("notifications_by_time", Notifications::CreatedAt),
            ("notifications_by_incident", Notifications::IncidentId),
        ] {
            manager.create_index(Index::create().name(name).table(Notifications::Table).col(column).to_owned()).await?;
        }
        manager
            .create_table(
                Table::create()
                    .table(Deliveries::Table)
                    .col(ColumnDef::new(Deliveries::Id).big_integer().not_null().primary_key().auto_increment())
                    .col(ColumnDef::new(Deliveries::NotificationId).text().not_null())
                    .col(ColumnDef::new(Deliveries::Channel).text().not_null())
                    .col(ColumnDef::new(Deliveries::EndpointId).big_integer())
                    .col(ColumnDef::new(Deliveries::State).text().not_null())
                    .col(ColumnDef::new(Deliveries::Attempts).big_integer().not_null())
                    .col(ColumnDef::new(Deliveries::MayHaveArrived).boolean().not_null())
                    .col(ColumnDef::new(Deliveries::NextAttemptAt).big_integer())
                    .col(ColumnDef::new(Deliveries::LastAttemptAt).big_integer())
                    .col(ColumnDef::new(Deliveries::LastError).text())
                    .col(ColumnDef::new(Deliveries::Answer).text())
                    .col(ColumnDef::new(Deliveries::CreatedAt).big_integer().not_null())
                    .col(ColumnDef::new(Deliveries::FinishedAt).big_integer())
                    .to_owned(),
            )
            .await?;
        manager
            .create_index(
                Index::create()
                    .name("deliveries_once")
                    .table(Deliveries::Table)
                    .col(Deliveries::NotificationId)
                    .col(Deliveries::Channel)
                    .unique()
                    .to_owned(),
            )
            .await?;
        manager
            .create_index(
                Index::create()
                    .name("deliveries_waiting")
                    .table(Deliveries::Table)
                    .col(Deliveries::State)
                    .col(Deliveries::Channel)
                    .col(Deliveries::Id)
                    .to_owned(),
            )
            .await
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        manager.drop_table(Table::drop().table(Deliveries::Table).to_owned()).await?;
        manager.drop_table(Table::drop().table(Notifications::Table).to_owned()).await
    }
}

#[derive(DeriveIden)]
enum Notifications {
    Table,
    Id,
    EndpointId,
    IncidentId,
    Event,
    OccurredAt,
    Facts,
    HeldBy,
    CreatedAt,
}

#[derive(DeriveIden)]
enum Deliveries {
    Table,
    Id,
    NotificationId,
    Channel,
    EndpointId,
    State,
    Attempts,
    MayHaveArrived,
    NextAttemptAt,
    LastAttemptAt,
    LastError,
    Answer,
    CreatedAt,
    FinishedAt,
}
