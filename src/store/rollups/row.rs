//! A rollup as a row of `rollups`.

use sea_orm::ActiveValue::Set;

use super::Grain;
use crate::domain::endpoint::EndpointId;
use crate::domain::latency::LatencySketch;
use crate::domain::uptime::{Bucket, Rollup};
use crate::domain::{Timestamp, from_micros, micros};
use crate::store::entities::rollups as table;
use crate::store::{StoreError, decode};

pub(super) fn of(id: EndpointId, grain: Grain, start: Timestamp, rollup: &Rollup) -> table::ActiveModel {
    let bucket = &rollup.bucket;
    table::ActiveModel {
        endpoint_id: Set(id.0),
        period: Set(grain.as_str().to_owned()),
        start_at: Set(micros(start)),
        up: Set(decode::stored(bucket.up)),
        degraded: Set(decode::stored(bucket.degraded)),
        down: Set(decode::stored(bucket.down)),
        missed: Set(decode::stored(bucket.missed)),
        maintenance: Set(decode::stored(bucket.maintenance)),
        retried: Set(decode::stored(bucket.retried)),
        dns_us: Set(decode::stored(bucket.dns_us)),
        connect_us: Set(decode::stored(bucket.connect_us)),
        tls_us: Set(decode::stored(bucket.tls_us)),
        first_byte_us: Set(decode::stored(bucket.first_byte_us)),
        transfer_us: Set(decode::stored(bucket.transfer_us)),
        total_us: Set(decode::stored(bucket.total_us)),
        min_us: Set(bucket.min_us.into()),
        max_us: Set(bucket.max_us.into()),
        sketch: Set(rollup.sketch.as_ref().map(LatencySketch::encode)),
    }
}

pub(super) fn read(row: table::Model) -> Result<(Timestamp, Rollup), StoreError> {
    let sketch = row
        .sketch
        .map(|bytes| {
            LatencySketch::decode(&bytes)
                .ok_or_else(|| decode::unreadable("rollups.sketch", format_args!("{} bytes", bytes.len())))
        })
        .transpose()?;
    let bucket = Bucket {
        up: decode::number(row.up, "rollups.up")?,
        degraded: decode::number(row.degraded, "rollups.degraded")?,
        down: decode::number(row.down, "rollups.down")?,
        missed: decode::number(row.missed, "rollups.missed")?,
        maintenance: decode::number(row.maintenance, "rollups.maintenance")?,
        retried: decode::number(row.retried, "rollups.retried")?,
        dns_us: decode::number(row.dns_us, "rollups.dns_us")?,
        connect_us: decode::number(row.connect_us, "rollups.connect_us")?,
        tls_us: decode::number(row.tls_us, "rollups.tls_us")?,
        first_byte_us: decode::number(row.first_byte_us, "rollups.first_byte_us")?,
        transfer_us: decode::number(row.transfer_us, "rollups.transfer_us")?,
        total_us: decode::number(row.total_us, "rollups.total_us")?,
        min_us: decode::number(row.min_us, "rollups.min_us")?,
        max_us: decode::number(row.max_us, "rollups.max_us")?,
    };
    Ok((from_micros(row.start_at), Rollup { bucket, sketch }))
}
