//! What people call the columns of their files, and the fields of a profile that they mean.

/// For each field the names of columns that mean it, as [`plain`] writes them: in English, German,
/// Russian, Ukrainian, French, Spanish, Portuguese, Italian and Polish, and as Outlook, Google
/// Contacts, Mailchimp and others export them.
const NAMES: &[(&str, &[&str])] = &[
    (
        "email",
        &[
            "email",
            "emailaddress",
            "mail",
            "mailaddress",
            "email1",
            "email1value",
            "emailadresse",
            "mailadresse",
            "почта",
            "электроннаяпочта",
            "адресэлектроннойпочты",
            "эпочта",
            "имейл",
            "емейл",
            "електроннапошта",
            "пошта",
            "courriel",
            "adresseemail",
            "adressemail",
            "correo",
            "correoelectrónico",
            "correoelectronico",
            "endereçodeemail",
            "indirizzoemail",
            "adresemail",
        ],
    ),
    (
        "phones",
        &[
            "phone",
            "phones",
            "phonenumber",
            "phone1value",
            "phone2value",
            "phone3value",
            "primaryphone",
            "homephone",
            "homephone2",
            "businessphone",
            "businessphone2",
            "otherphone",
            "mobile",
            "mobilephone",
            "mobilenumber",
            "cell",
            "cellphone",
            "tel",
            "telephone",
            "telephonenumber",
            "telefon",
            "telefonnummer",
            "rufnummer",
            "handy",
            "handynummer",
            "mobil",
            "mobiltelefon",
            "mobilnummer",
            "телефон",
            "телефоны",
            "номертелефона",
            "мобильный",
            "мобильныйтелефон",
            "мобильныйномер",
            "сотовый",
            "мобільний",
            "téléphone",
            "numérodetéléphone",
            "portable",
            "teléfono",
            "telefono",
            "móvil",
            "movil",
            "celular",
            "telefone",
            "telemóvel",
            "cellulare",
            "numertelefonu",
            "telefonkomórkowy",
        ],
    ),
    (
        "_fname",
        &[
            "fname",
            "firstname",
            "givenname",
            "forename",
            "vorname",
            "имя",
            "імя",
            "prénom",
            "prenom",
            "nombre",
            "primeironome",
            "nome",
            "imię",
            "imie",
        ],
    ),
    (
        "_lname",
        &[
            "lname",
            "lastname",
            "surname",
            "familyname",
            "nachname",
            "familienname",
            "фамилия",
            "прізвище",
            "nom",
            "nomdefamille",
            "apellido",
            "apellidos",
            "sobrenome",
            "apelido",
            "cognome",
            "nazwisko",
        ],
    ),
    (
        "_city",
        &[
            "city",
            "town",
            "homecity",
            "address1city",
            "stadt",
            "ort",
            "wohnort",
            "город",
            "місто",
            "ville",
            "ciudad",
            "cidade",
            "città",
            "citta",
            "miasto",
        ],
    ),
    (
        "_region",
        &[
            "region",
            "state",
            "province",
            "stateprovince",
            "homestate",
            "address1region",
            "bundesland",
            "регион",
            "область",
            "région",
            "provincia",
            "estado",
            "regione",
            "województwo",
        ],
    ),
    (
        "_country",
        &[
            "country",
            "countrycode",
            "land",
            "ländercode",
            "länderkürzel",
            "страна",
            "кодстраны",
            "країна",
            "pays",
            "codepays",
            "país",
            "pais",
            "paese",
            "kraj",
        ],
    ),
    (
        "_postal_code",
        &[
            "postalcode",
            "zip",
            "zipcode",
            "postcode",
            "homepostalcode",
            "address1postalcode",
            "plz",
            "postleitzahl",
            "индекс",
            "почтовыйиндекс",
            "індекс",
            "codepostal",
            "códigopostal",
            "codigopostal",
            "cep",
            "cap",
            "kodpocztowy",
        ],
    ),
    (
        "_bdate",
        &[
            "bdate",
            "birthdate",
            "birthday",
            "dateofbirth",
            "dob",
            "bday",
            "geburtsdatum",
            "geburtstag",
            "датарождения",
            "деньрождения",
            "датанародження",
            "datedenaissance",
            "fechadenacimiento",
            "datadenascimento",
            "datadinascita",
            "dataurodzenia",
        ],
    ),
    (
        "_regdate",
        &[
            "regdate",
            "registrationdate",
            "dateregistered",
            "registeredat",
            "signupdate",
            "registrierungsdatum",
            "anmeldedatum",
            "датарегистрации",
            "датареєстрації",
            "datedinscription",
            "fechaderegistro",
            "dataderegistro",
            "datadiregistrazione",
            "datarejestracji",
        ],
    ),
    (
        "_sex",
        &[
            "sex",
            "gender",
            "geschlecht",
            "пол",
            "стать",
            "sexe",
            "sexo",
            "sesso",
            "płeć",
        ],
    ),
    (
        "_tz",
        &[
            "tz",
            "timezone",
            "zeitzone",
            "часовойпояс",
            "часовийпояс",
            "fuseauhoraire",
            "zonahoraria",
            "fusohorário",
            "fusoorario",
            "strefaczasowa",
        ],
    ),
    ("_ip", &["ip", "ipaddress", "ipadresse", "ipадрес"]),
];

/// The field that a column of this name means.
pub(super) fn meaning(column: &str) -> Option<&'static str> {
    let plain = plain(column);
    let row = NAMES
        .iter()
        .find(|(_, names)| names.contains(&plain.as_str()));
    row.map(|(field, _)| *field)
}

/// A name without regard to case, blanks and signs.
pub(super) fn plain(name: &str) -> String {
    let letters = name.chars().filter(|c| c.is_alphanumeric());
    letters.flat_map(char::to_lowercase).collect()
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;
    use crate::domain::profile;

    #[test]
    fn the_table_has_each_name_once_in_its_plain_form_and_fields_that_exist() {
        let mut seen = HashSet::new();
        for (field, names) in NAMES {
            assert!(profile::is_reserved(field), "{field}");
            for name in *names {
                assert_eq!(plain(name), *name);
                assert!(seen.insert(*name), "{name} stands there twice");
            }
        }
    }

    /// Headers of real files, with where they are from.
    #[test]
    fn columns_of_exports_are_known() {
        for (source, column, field) in [
            ("Mailchimp", "Email Address", Some("email")),
            ("Mailchimp", "First Name", Some("_fname")),
            ("Google Contacts", "E-mail 1 - Value", Some("email")),
            ("Google Contacts", "Phone 1 - Value", Some("phones")),
            ("Outlook", "Home Postal Code", Some("_postal_code")),
            ("Outlook in German", "E-Mail-Adresse", Some("email")),
            ("by hand, German", " Vorname ", Some("_fname")),
            ("by hand, Russian", "Телефон", Some("phones")),
            ("by hand, Russian", "E-mail", Some("email")),
            ("by hand, Russian", "Дата рождения", Some("_bdate")),
            ("by hand, Ukrainian", "Ім'я", Some("_fname")),
            ("by hand, French", "Prénom", Some("_fname")),
            ("by hand, Spanish", "Código postal", Some("_postal_code")),
            ("HubSpot", "Lifecycle Stage", None),
            ("Shopify", "Tags", None),
        ] {
            assert_eq!(meaning(column), field, "{source}: {column}");
        }
    }
}
