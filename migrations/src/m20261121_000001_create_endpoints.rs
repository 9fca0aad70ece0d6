//! `endpoints`: what is watched. A row is archived before it is removed, and its id is never used again.

use sea_orm_migration::prelude::*;

#[derive(DeriveMigrationName)]
pub(crate) struct Migration;

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        manager
            .create_table(
                Table::create()
                    .table(Endpoints::Table)
                    .col(ColumnDef::new(Endpoints::Id).big_integer().not_null().auto_increment().primary_key())
                    .col(ColumnDef::new(Endpoints::Name).text().not_null())
                    .col(ColumnDef::new(Endpoints::GroupName).text().not_null())
                    .col(ColumnDef::new(Endpoints::Url).text().not_null())
                    .col(ColumnDef::new(Endpoints::Origin).text().not_null())
                    .col(ColumnDef::new(Endpoints::Source).text())
                    .col(ColumnDef::new(Endpoints::Paused).boolean().not_null())
                    .col(ColumnDef::new(Endpoints::Revision).big_integer().not_null())
                    .col(ColumnDef::new(Endpoints::Spec).json().not_null())
                    .col(ColumnDef::new(Endpoints::CreatedAt).big_integer().not_null())
                    .col(ColumnDef::new(Endpoints::UpdatedAt).big_integer().not_null())
                    .col(ColumnDef::new(Endpoints::ScheduledFrom).big_integer().not_null())
                    .col(ColumnDef::new(Endpoints::ArchivedAt).big_integer())
                    .to_owned(),
            )
            .await?;
        // The name of an archived endpoint is free again.
        manager
            .create_index(
                Index::create()
                    .name("endpoints_current_key")
                    .table(Endpoints::Table)
                    .col(Endpoints::GroupName)
                    .col(Endpoints::Name)
                    .unique()
                    .and_where(Expr::col(Endpoints::ArchivedAt).is_null())
                    .to_owned(),
            )
            .await
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        manager.drop_table(Table::drop().table(Endpoints::Table).to_owned()).await
    }
}

#[derive(DeriveIden)]
enum Endpoints {
    Table,
    Id,
    Name,
    GroupName,
    Url,
    Origin,
    Source,
    Paused,
    Revision,
    Spec,
    CreatedAt,
    UpdatedAt,
    ScheduledFrom,
    ArchivedAt,
}
