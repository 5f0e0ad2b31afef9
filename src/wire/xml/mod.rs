//! XML bodies → the tree of values, and replies → XML, event by event, by `quick-xml`.
//!
//! An element with elements in it is an object, one with text is a text whose type the field
//! decides ([`Value::Text`](crate::domain::value::Value::Text)), an empty one is null. Elements of
//! one name, or a single one with the attribute `array='true'`, are an array. Other attributes are
//! ignored. A name counts without its namespace prefix.

mod names;
mod read;
mod tree;
mod write;

pub use self::read::{outline, read};
pub use self::write::{Elements, write};

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::value::Value;

    #[test]
    fn what_is_written_is_read_again() {
        let body = write(|xml| {
            xml.text("a", "1 < 2 &\r \"x\"")?;
            xml.item("b", |xml| xml.text("c", ""))
        });
        assert_eq!(
            std::str::from_utf8(&body).unwrap(),
            r#"<xml><a>1 &lt; 2 &amp;&#13; &quot;x&quot;</a><b array="true"><c></c></b></xml>"#
        );
        let read = read(&body).unwrap();
        assert_eq!(
            serde_json::to_string(&Value::Object(read)).unwrap(),
            r#"{"a":"1 < 2 &\r \"x\"","b":[{"c":null}]}"#
        );
    }
}
