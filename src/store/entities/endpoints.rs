use sea_orm::entity::prelude::*;

#[derive(Clone, Debug, PartialEq, DeriveEntityModel)]
#[sea_orm(table_name = "endpoints")]
pub struct Model {
    #[sea_orm(primary_key)]
    pub id: i64,
    pub name: String,
    pub group_name: String,
    pub url: String,
    pub origin: String,
    pub source: Option<String>,
    pub paused: bool,
    pub revision: i64,
    pub spec: Json,
    pub created_at: i64,
    pub updated_at: i64,
    pub scheduled_from: i64,
    pub archived_at: Option<i64>,
    pub purge_at: Option<i64>,
}

#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
