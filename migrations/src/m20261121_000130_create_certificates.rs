//! `certificates`: each that an endpoint served, once; `endpoint_certificates`: which one each endpoint served last.

use sea_orm_migration::prelude::*;

#[derive(DeriveMigrationName)]
pub(crate) struct Migration;

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let certificates = Table::create()
            .table(Certificates::Table)
            // SHA-256 of the certificate, in lower-case hexadecimal digits.
            .col(ColumnDef::new(Certificates::Fingerprint).text().not_null().primary_key())
            .col(ColumnDef::new(Certificates::Subject).text().not_null())
            .col(ColumnDef::new(Certificates::Issuer).text().not_null())
            .col(ColumnDef::new(Certificates::NotBefore).big_integer().not_null())
            .col(ColumnDef::new(Certificates::NotAfter).big_integer().not_null())
            .col(ColumnDef::new(Certificates::Sans).json().not_null())
            // What was served after it, in its order.
            .col(ColumnDef::new(Certificates::Issuers).json().not_null())
            .col(ColumnDef::new(Certificates::FirstServedAt).big_integer().not_null())
            .col(ColumnDef::new(Certificates::LastServedAt).big_integer().not_null())
            // The latest instant of which it was told that it has come.
            .col(ColumnDef::new(Certificates::ToldUntil).big_integer())
            .to_owned();
        manager.create_table(certificates).await?;
        let of_endpoints = Table::create()
            .table(EndpointCertificates::Table)
            .col(ColumnDef::new(EndpointCertificates::EndpointId).big_integer().not_null().primary_key())
            .col(ColumnDef::new(EndpointCertificates::Fingerprint).text().not_null())
            // Scheme, host and port of the endpoint then: of another it says nothing.
            .col(ColumnDef::new(EndpointCertificates::Place).text().not_null())
            .to_owned();
        manager.create_table(of_endpoints).await?;
        let index = Index::create()
            .name("endpoint_certificates_by_fingerprint")
            .table(EndpointCertificates::Table)
            .col(EndpointCertificates::Fingerprint)
            .to_owned();
        manager.create_index(index).await
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        manager.drop_table(Table::drop().table(EndpointCertificates::Table).to_owned()).await?;
        manager.drop_table(Table::drop().table(Certificates::Table).to_owned()).await
    }
}

#[derive(DeriveIden)]
enum Certificates {
    Table,
    Fingerprint,
    Subject,
    Issuer,
    NotBefore,
    NotAfter,
    Sans,
    Issuers,
    FirstServedAt,
    LastServedAt,
    ToldUntil,
}

#[derive(DeriveIden)]
enum EndpointCertificates {
    Table,
    EndpointId,
    Fingerprint,
    Place,
}
