//! `incidents` and `incident_events`; the open incident of each endpoint in `endpoint_states`.

use sea_orm_migration::prelude::*;

#[derive(DeriveMigrationName)]
pub(crate) struct Migration;

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        manager
            .create_table(
                Table::create()
                    .table(Incidents::Table)
                    .col(ColumnDef::new(Incidents::Id).big_integer().not_null().primary_key().auto_increment())
                    .col(ColumnDef::new(Incidents::EndpointId).big_integer().not_null())
                    .col(ColumnDef::new(Incidents::StartedAt).big_integer().not_null())
                    .col(ColumnDef::new(Incidents::OpenedAt).big_integer().not_null())
                    .col(ColumnDef::new(Incidents::ResolvedAt).big_integer())
                    .col(ColumnDef::new(Incidents::Resolution).text())
                    .col(ColumnDef::new(Incidents::FailureKind).text().not_null())
                    .col(ColumnDef::new(Incidents::FailureMessage).text().not_null())
                    .col(ColumnDef::new(Incidents::Severity).text().not_null())
                    .to_owned(),
            )
            .await?;
        manager
            .create_index(
                Index::create()
                    .name("incidents_by_endpoint")
                    .table(Incidents::Table)
                    .col(Incidents::EndpointId)
                    .col(Incidents::StartedAt)
                    .unique()
                    .to_owned(),
            )
            .await?;
        manager
            .create_index(
                Index::create()
                    .name("incidents_by_resolution")
                    .table(Incidents::Table)
                    .col(Incidents::ResolvedAt)
                    .to_owned(),
            )
            .await?;
        manager
            .create_table(
                Table::create()
                    .table(IncidentEvents::Table)
                    .col(ColumnDef::new(IncidentEvents::Id).big_integer().not_null().primary_key().auto_increment())
                    .col(ColumnDef::new(IncidentEvents::IncidentId).big_integer().not_null())
                    .col(ColumnDef::new(IncidentEvents::At).big_integer().not_null())
                    .col(ColumnDef::new(IncidentEvents::Kind).text().not_null())
                    .col(ColumnDef::new(IncidentEvents::FailureKind).text())
                    .col(ColumnDef::new(IncidentEvents::Message).text())
                    .to_owned(),
            )
            .await?;
        manager
            .create_index(
                Index::create()
                    .name("incident_events_by_incident")
                    .table(IncidentEvents::Table)
                    .col(IncidentEvents::IncidentId)
                    .col(IncidentEvents::At)
                    .to_owned(),
            )
            .await?;
        for column in [EndpointStates::Incident, EndpointStates::Recovered] {
            manager
                .alter_table(
                    Table::alter().table(EndpointStates::Table).add_column(ColumnDef::new(column).json()).to_owned(),
                )
                .await?;
        }
        Ok(())
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        for column in [EndpointStates::Recovered, EndpointStates::Incident] {
            manager.alter_table(Table::alter().table(EndpointStates::Table).drop_column(column).to_owned()).await?;
        }
        manager.drop_table(Table::drop().table(IncidentEvents::Table).to_owned()).await?;
        manager.drop_table(Table::drop().table(Incidents::Table).to_owned()).await
    }
}

#[derive(DeriveIden)]
enum Incidents {
    Table,
    Id,
    EndpointId,
    StartedAt,
    OpenedAt,
    ResolvedAt,
    Resolution,
    FailureKind,
    FailureMessage,
    Severity,
}

#[derive(DeriveIden)]
enum IncidentEvents {
    Table,
    Id,
    IncidentId,
    At,
    Kind,
    FailureKind,
    Message,
}

#[derive(DeriveIden)]
enum EndpointStates {
    Table,
    Incident,
    Recovered,
}
