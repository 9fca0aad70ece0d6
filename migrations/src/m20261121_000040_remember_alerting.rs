//! More of the incident machine is remembered, and who looks after an incident.

use sea_orm_migration::prelude::*;

#[derive(DeriveMigrationName)]
pub(crate) struct Migration;

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        // One column a statement: SQLite knows no other way.
        for (table, column) in columns() {
            manager.alter_table(Table::alter().table(table).add_column(column).to_owned()).await?;
        }
        Ok(())
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        for (table, column) in columns() {
            let name = column.get_column_name().clone();
            manager.alter_table(Table::alter().table(table).drop_column(Alias::new(name)).to_owned()).await?;
        }
        Ok(())
    }
}

fn columns() -> [(Tables, ColumnDef); 6] {
    [
        (Tables::EndpointStates, ColumnDef::new("trail").json().take()),
        (Tables::Incidents, ColumnDef::new("acknowledged_by").text().take()),
        (Tables::Incidents, ColumnDef::new("acknowledged_at").big_integer().take()),
        (Tables::Incidents, ColumnDef::new("acknowledged_until").big_integer().take()),
        (Tables::Incidents, ColumnDef::new("acknowledgement_note").text().take()),
        (Tables::IncidentEvents, ColumnDef::new("actor").text().take()),
    ]
}

#[derive(DeriveIden)]
enum Tables {
    EndpointStates,
    Incidents,
    IncidentEvents,
}
