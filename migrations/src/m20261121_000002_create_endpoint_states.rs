//! `endpoint_states`: the counters of the incident machine, one row an endpoint.

use sea_orm_migration::prelude::*;

#[derive(DeriveMigrationName)]
pub(crate) struct Migration;

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        manager
            .create_table(
                Table::create()
                    .table(EndpointStates::Table)
                    .col(ColumnDef::new(EndpointStates::EndpointId).big_integer().not_null().primary_key())
                    .col(ColumnDef::new(EndpointStates::Status).text().not_null())
                    .col(ColumnDef::new(EndpointStates::Since).big_integer().not_null())
                    .col(ColumnDef::new(EndpointStates::Failures).big_integer().not_null())
                    .col(ColumnDef::new(EndpointStates::Successes).big_integer().not_null())
                    .col(ColumnDef::new(EndpointStates::RunStartedAt).big_integer())
                    .col(ColumnDef::new(EndpointStates::FailureKind).text())
                    .col(ColumnDef::new(EndpointStates::FailureMessage).text())
                    .to_owned(),
            )
            .await
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        manager.drop_table(Table::drop().table(EndpointStates::Table).to_owned()).await
    }
}

#[derive(DeriveIden)]
enum EndpointStates {
    Table,
    EndpointId,
    Status,
    Since,
    Failures,
    Successes,
    RunStartedAt,
    FailureKind,
    FailureMessage,
}
