use sea_orm::entity::prelude::*;

#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "deliveries")]
pub struct Model {
    #[sea_orm(primary_key)]
    pub id: i64,
    pub notification_id: String,
    pub channel: String,
    pub endpoint_id: Option<i64>,
    pub state: String,
    pub attempts: i64,
    pub may_have_arrived: bool,
    pub next_attempt_at: Option<i64>,
    pub last_attempt_at: Option<i64>,
    pub last_error: Option<String>,
    pub answer: Option<String>,
    pub created_at: i64,
    pub finished_at: Option<i64>,
    pub held_until: Option<i64>,
    pub digest_id: Option<String>,
}

#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
