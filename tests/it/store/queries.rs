//! What is counted of the statements that a database is given, and which database answers.

use std::time::Duration;

use super::{add_endpoint, with_database};
use crate::database::{Kind, on_both_databases};
use api_monitor::store::{self, ConnectionTrait};

async fn statements_of_every_connection_are_counted(kind: Kind) {
    with_database(kind, async |store| {
        let queries = store.queries();
        let before = queries.totals();
        add_endpoint(store, "kept-out-of-texts").await;
        store::endpoints::list_current(store.readers()).await.unwrap();
        let transaction = store.begin().await.unwrap();
        store::endpoints::list_current(&transaction).await.unwrap();
        // Rolled back: it was asked all the same.
        drop(transaction);
        let between = queries.totals();
        assert!(between.executed >= before.executed + 3, "{before:?} {between:?}");
        assert_eq!(between.failed, 0);
        let wrong =
            sea_orm::Statement::from_string(store.readers().get_database_backend(), "SELECT nothing FROM nowhere");
        assert!(store.readers().query_one_raw(wrong).await.is_err());
        let after = queries.totals();
        assert_eq!((after.executed, after.failed), (between.executed + 1, 1));
        assert!(after.time > Duration::ZERO && after.longest <= after.time, "{after:?}");

        let statements = queries.statements();
        assert_eq!(statements.iter().map(|statement| statement.executed).sum::<u64>(), after.executed);
        let failed: Vec<_> = statements.iter().filter(|s| s.failed > 0).map(|s| s.statement.as_deref()).collect();
        assert_eq!(failed, [Some("SELECT nothing FROM nowhere")]);
        assert!(!format!("{statements:?}").contains("kept-out-of-texts"));
        let listed =
            statements.iter().filter(|s| s.statement.as_deref().is_some_and(|s| s.starts_with("SELECT \"endpoints\"")));
        assert!(listed.map(|s| s.executed).sum::<u64>() >= 2, "{statements:?}");
    })
    .await;
}

async fn the_version_is_that_of_what_answers(kind: Kind) {
    with_database(kind, async |store| {
        let version = store.version().await.unwrap();
        assert!(version.starts_with(|c: char| c.is_ascii_digit()) && version.contains('.'), "{version}");
        let library = store::sqlite_version().await.unwrap();
        match kind {
            Kind::Sqlite => assert_eq!((store.kind(), &version), ("sqlite", &library)),
            Kind::Postgres => {
                assert_eq!(store.kind(), "postgresql");
                assert_ne!(version, library);
            }
        }
    })
    .await;
}

on_both_databases!(statements_of_every_connection_are_counted, the_version_is_that_of_what_answers);
