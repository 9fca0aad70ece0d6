//! `/api/v1/channels`: where is told, and how each channel does. Channels come from the configuration.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use serde::Serialize;
use utoipa::ToSchema;

use super::channel_view::ChannelItem;
use super::error::Problem;
use super::extract::TextPath;
use super::pagination::{FromParams, MAX_LIMIT, Page, Params, Query};
use crate::service::{Actor, ServiceContext, channels as verbs};

type Ctx = State<Arc<ServiceContext>>;

/// Which channels.
#[derive(Debug, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
pub struct ChannelParams {
    /// Items of one page, 1 to 1000. Default 1000.
    #[param(value_type = Option<u64>, minimum = 1, maximum = 1000)]
    #[expect(dead_code, reason = "read into `page`; here for the documentation")]
    limit: (),
    /// Items before the page. Default 0.
    #[param(value_type = Option<u64>)]
    #[expect(dead_code, reason = "read into `page`; here for the documentation")]
    offset: (),
    #[param(ignore)]
    page: Page,
}

impl FromParams for ChannelParams {
    fn from_params(params: &mut Params) -> Self {
        Self { limit: (), offset: (), page: params.page(MAX_LIMIT) }
    }
}

/// A page of channels, in the order of the configuration.
#[derive(Debug, Serialize, ToSchema)]
pub struct ChannelList {
    channels: Vec<ChannelItem>,
    total: u64,
    limit: u64,
    offset: u64,
}

/// What became of a test message.
#[derive(Debug, Serialize, ToSchema)]
pub struct ChannelTest {
    channel: String,
    delivered: bool,
    /// What the other side said.
    #[schema(example = "200 OK")]
    answer: Option<String>,
    /// Why it was not delivered.
    error: Option<String>,
}

/// List channels
#[utoipa::path(get, path = "/api/v1/channels", tag = "channels", params(ChannelParams),
    responses((status = 200, body = ChannelList)))]
pub async fn list(State(ctx): Ctx, Query(params): Query<ChannelParams>) -> Json<ChannelList> {
    let all: Vec<ChannelItem> = verbs::list(&ctx).await.iter().map(ChannelItem::from).collect();
    let Page { limit, offset } = params.page;
    Json(ChannelList { total: all.len() as u64, channels: params.page.cut(all), limit, offset })
}

/// Get a channel
#[utoipa::path(get, path = "/api/v1/channels/{name}", tag = "channels", params(("name" = String, Path)),
    responses((status = 200, body = ChannelItem)))]
pub async fn get(
    State(ctx): Ctx,
    TextPath(name): TextPath,
    Query(()): Query<()>,
) -> Result<Json<ChannelItem>, Problem> {
    Ok(Json(ChannelItem::from(&verbs::get(&ctx, &name).await?)))
}

/// Test a channel
///
/// Sends a message that is marked as a test through the real transport, and tells what the other side answered. 200
/// whether or not it was delivered.
#[utoipa::path(post, path = "/api/v1/channels/{name}/test", tag = "channels", params(("name" = String, Path)),
    responses(
        (status = 200, body = ChannelTest),
        (status = 409, response = super::openapi::ProblemResponse),
    ))]
pub async fn test(
    State(ctx): Ctx,
    actor: Actor,
    TextPath(name): TextPath,
    Query(()): Query<()>,
) -> Result<Json<ChannelTest>, Problem> {
    let (delivered, answer, error) = match verbs::test(&ctx, &actor, &name).await? {
        Ok(answer) => (true, Some(answer), None),
        Err(error) => (false, None, Some(error)),
    };
    Ok(Json(ChannelTest { channel: name, delivered, answer, error }))
}
