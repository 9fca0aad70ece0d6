use sea_orm::entity::prelude::*;

#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "check_results")]
pub struct Model {
    #[sea_orm(primary_key)]
    pub position: i64,
    pub endpoint_id: i64,
    pub scheduled_at: i64,
    pub started_at: i64,
    pub outcome: String,
    pub missed_reason: Option<String>,
    pub failure_kind: Option<String>,
    pub failure_message: Option<String>,
    pub slots: i64,
    pub status_code: Option<i64>,
    pub dns_us: Option<i64>,
    pub connect_us: Option<i64>,
    pub tls_us: Option<i64>,
    pub first_byte_us: Option<i64>,
    pub transfer_us: Option<i64>,
    pub total_us: i64,
    pub attempts: i64,
    pub trigger: String,
    pub in_maintenance: bool,
}

#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
