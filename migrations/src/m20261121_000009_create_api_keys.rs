//! `api_keys`: the keys made through the API. Of a key itself only its digest is here.

use sea_orm_migration::prelude::*;

#[derive(DeriveMigrationName)]
pub(crate) struct Migration;

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        manager
            .create_table(
                Table::create()
                    .table(ApiKeys::Table)
                    .col(ColumnDef::new(ApiKeys::Id).big_integer().not_null().auto_increment().primary_key())
                    .col(ColumnDef::new(ApiKeys::Name).text().not_null().unique_key())
                    .col(ColumnDef::new(ApiKeys::Role).text().not_null())
                    .col(ColumnDef::new(ApiKeys::Digest).text().not_null().unique_key())
                    .col(ColumnDef::new(ApiKeys::Prefix).text().not_null())
                    .col(ColumnDef::new(ApiKeys::ExpiresAt).big_integer())
                    .col(ColumnDef::new(ApiKeys::CreatedAt).big_integer().not_null())
                    .col(ColumnDef::new(ApiKeys::CreatedBy).text().not_null())
                    .col(ColumnDef::new(ApiKeys::UpdatedAt).big_integer().not_null())
                    .col(ColumnDef::new(ApiKeys::Revision).big_integer().not_null())
                    .col(ColumnDef::new(ApiKeys::LastUsedAt).big_integer())
                    .col(ColumnDef::new(ApiKeys::LastUsedFrom).text())
                    .to_owned(),
            )
            .await
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        manager.drop_table(Table::drop().table(ApiKeys::Table).to_owned()).await
    }
}

#[derive(DeriveIden)]
enum ApiKeys {
    Table,
    Id,
    Name,
    Role,
    Digest,
    Prefix,
    ExpiresAt,
    CreatedAt,
    CreatedBy,
    UpdatedAt,
    Revision,
    LastUsedAt,
    LastUsedFrom,
}
