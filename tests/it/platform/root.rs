//! The base of the API: versions and errors.

use super::Platform;

#[tokio::test]
async fn the_base_names_the_versions() {
    let platform = Platform::start("endpoints: []\n");
    let versions = platform.get("/api/").await.expect(200).json();
    assert_eq!(versions["versions"][0]["version"], "v1", "{versions}");
    platform.get("/api/v2/endpoints").await.expect(404);
}
