//! The audit log is looked through by who, what and when.

use sea_orm_migration::prelude::*;

#[derive(DeriveMigrationName)]
pub(crate) struct Migration;

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        for (name, column) in indexes() {
            // The id too, by which the log is listed.
            let index = Index::create().name(name).table(AuditLog::Table).col(column).col(AuditLog::Id).to_owned();
            manager.create_index(index).await?;
        }
        Ok(())
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        for (name, _) in indexes() {
            manager.drop_index(Index::drop().name(name).table(AuditLog::Table).to_owned()).await?;
        }
        Ok(())
    }
}

fn indexes() -> [(&'static str, AuditLog); 4] {
    [
        ("audit_log_by_time", AuditLog::At),
        ("audit_log_by_actor", AuditLog::Actor),
        ("audit_log_by_action", AuditLog::Action),
        ("audit_log_by_subject", AuditLog::Subject),
    ]
}

#[derive(DeriveIden)]
enum AuditLog {
    Table,
    Id,
    At,
    Actor,
    Action,
    Subject,
}
