//! Fields of a form or of an address, each given once.
use super::problem::Problem;
use http::StatusCode;

#[derive(Clone, Debug, Default)]
pub(super) struct Fields(Vec<(String, String)>);

impl Fields {
    pub(super) fn parse(bytes: &[u8]) -> Self {
        Self(form_urlencoded::parse(bytes).into_owned().collect())
    }

    /// A field that may be there once; empty counts as left out.
    pub(super) fn one(&self, name: &str) -> Result<Option<&str>, Problem> {
        let mut values = self.0.iter().filter(|(known, _)| known == name).map(|(_, value)| value.as_str());
        let first = values.next();
        if values.next().is_some() {
            return Err(Problem::said(StatusCode::BAD_REQUEST, format!("`{name}` is given twice")));
        }
        Ok(first.filter(|value| !value.is_empty()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_field_is_given_once_or_not_at_all() {
        let fields = Fields::parse(b"a=1&b=x+y%26&c=&a=2");
        assert!(fields.one("a").is_err());
        assert_eq!(fields.one("b").ok().flatten(), Some("x y&"));
        assert_eq!(fields.one("c").ok().flatten(), None);
        assert_eq!(fields.one("d").ok().flatten(), None);
    }
}
