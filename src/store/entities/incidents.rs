use sea_orm::entity::prelude::*;

#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "incidents")]
pub struct Model {
    #[sea_orm(primary_key)]
    pub id: i64,
    pub endpoint_id: i64,
    pub started_at: i64,
    pub opened_at: i64,
    pub resolved_at: Option<i64>,
    pub resolution: Option<String>,
    pub failure_kind: String,
    pub failure_message: String,
    pub severity: String,
    pub acknowledged_by: Option<String>,
    pub acknowledged_at: Option<i64>,
    pub acknowledged_until: Option<i64>,
    pub acknowledgement_note: Option<String>,
}

#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
