use sea_orm::entity::prelude::*;

#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "rollups")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub endpoint_id: i64,
    #[sea_orm(primary_key, auto_increment = false)]
    pub period: String,
    #[sea_orm(primary_key, auto_increment = false)]
    pub start_at: i64,
    pub up: i64,
    pub degraded: i64,
    pub down: i64,
    pub missed: i64,
    pub maintenance: i64,
    pub retried: i64,
    pub dns_us: i64,
    pub connect_us: i64,
    pub tls_us: i64,
    pub first_byte_us: i64,
    pub transfer_us: i64,
    pub total_us: i64,
    pub min_us: i64,
    pub max_us: i64,
    pub sketch: Option<Vec<u8>>,
}

#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
