use super::*;

/// A slot that nobody knows, or a map that is not there, would only be found when something is told.
#[test]
fn every_file_says_only_what_is_understood() {
    for data in preset::all().unwrap() {
        let told = format!("{:?} {:?} {:?}", data.request.bodies, data.request.headers, data.maps);
        for (at, _) in told.match_indices("{maps.") {
            let name = told[at + 6..].split('}').next().unwrap();
            assert!(data.maps.contains_key(name), "{}: {name}", data.name);
        }
        for (at, _) in told.match_indices("{options.") {
            let name = told[at + 9..].split('}').next().unwrap();
            assert!(data.option(name).is_some(), "{}: {name}", data.name);
        }
        for body in data.request.bodies.values() {
            match data.request.format {
                Format::Json => assert!(Json::read(body).is_ok(), "{}", data.name),
                Format::Form => assert!(Form::read(body).is_ok(), "{}", data.name),
            }
        }
        for value in data.maps.values().flat_map(BTreeMap::values) {
            assert!(body::Mapped::read(value).is_ok(), "{}", data.name);
        }
    }
}
