//! `formation`: how many instances of each process type a new app gets.

use std::collections::BTreeMap;

use super::place::{AppJsonError, Place};
use crate::procfile::is_process_name;
use crate::text::excerpt;

const QUANTITY_MAX: u64 = 100;

pub(crate) fn formation<'a>(
    place: &Place<'a>,
    part: &'a str,
    unused: &mut Vec<String>,
) -> Result<BTreeMap<String, u16>, AppJsonError> {
    let mut formation = BTreeMap::new();
    for (name, part) in place.fields(part)? {
        let place = place.below(&format!(".{}", excerpt(&name)));
        if !is_process_name(&name) {
            return Err(place.wrong(part, "named like a process type: letters, digits, `-` and `_`"));
        }
        for (key, part) in place.fields(part)? {
            let field = place.below(&format!(".{}", excerpt(&key)));
            match key.as_str() {
                "quantity" => {
                    let quantity = field.number(part, QUANTITY_MAX)?;
                    formation.insert(name.clone(), u16::try_from(quantity).unwrap_or(u16::MAX));
                }
                // Sizes are Heroku's products; limits are set by a command here.
                "size" => unused.push(format!("{} (`paas ps:limits` sets memory and processor time)", field.field)),
                _of_others => unused.push(field.field),
            }
        }
    }
    Ok(formation)
}
