//! `check_results`: the record of every check, in the order of arrival.
//!
//! No foreign key: removing an endpoint removes its rows in small batches, and an append pays for no lookup.

use sea_orm_migration::prelude::*;

#[derive(DeriveMigrationName)]
pub(crate) struct Migration;

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        manager
            .create_table(
                Table::create()
                    .table(CheckResults::Table)
                    .col(ColumnDef::new(CheckResults::Position).big_integer().not_null().auto_increment().primary_key())
                    .col(ColumnDef::new(CheckResults::EndpointId).big_integer().not_null())
                    .col(ColumnDef::new(CheckResults::ScheduledAt).big_integer().not_null())
                    .col(ColumnDef::new(CheckResults::StartedAt).big_integer().not_null())
                    .col(ColumnDef::new(CheckResults::Outcome).text().not_null())
                    .col(ColumnDef::new(CheckResults::MissedReason).text())
                    .col(ColumnDef::new(CheckResults::FailureKind).text())
                    .col(ColumnDef::new(CheckResults::FailureMessage).text())
                    .col(ColumnDef::new(CheckResults::Slots).big_integer().not_null())
                    .col(ColumnDef::new(CheckResults::StatusCode).big_integer())
                    .col(ColumnDef::new(CheckResults::DnsUs).big_integer())
                    .col(ColumnDef::new(CheckResults::ConnectUs).big_integer())
                    .col(ColumnDef::new(CheckResults::TlsUs).big_integer())
                    .col(ColumnDef::new(CheckResults::FirstByteUs).big_integer())
                    .col(ColumnDef::new(CheckResults::TransferUs).big_integer())
                    .col(ColumnDef::new(CheckResults::TotalUs).big_integer().not_null())
                    .col(ColumnDef::new(CheckResults::Attempts).big_integer().not_null())
                    .col(ColumnDef::new(CheckResults::Trigger).text().not_null())
                    .col(ColumnDef::new(CheckResults::InMaintenance).boolean().not_null())
                    .to_owned(),
            )
            .await?;
        manager
            .create_index(
                Index::create()
                    .name("check_results_identity")
                    .table(CheckResults::Table)
                    .col(CheckResults::EndpointId)
                    .col(CheckResults::ScheduledAt)
                    .unique()
                    .to_owned(),
            )
            .await
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        manager.drop_table(Table::drop().table(CheckResults::Table).to_owned()).await
    }
}

#[derive(DeriveIden)]
enum CheckResults {
    Table,
    Position,
    EndpointId,
    ScheduledAt,
    StartedAt,
    Outcome,
    MissedReason,
    FailureKind,
    FailureMessage,
    Slots,
    StatusCode,
    DnsUs,
    ConnectUs,
    TlsUs,
    FirstByteUs,
    TransferUs,
    TotalUs,
    Attempts,
    Trigger,
    InMaintenance,
}
