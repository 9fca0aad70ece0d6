use sea_orm::entity::prelude::*;

#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "endpoint_states")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub endpoint_id: i64,
    pub status: String,
    pub since: i64,
    pub failures: i64,
    pub successes: i64,
    pub run_started_at: Option<i64>,
    pub failure_kind: Option<String>,
    pub failure_message: Option<String>,
    pub incident: Option<Json>,
    pub recovered: Option<Json>,
    pub trail: Option<Json>,
}

#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
