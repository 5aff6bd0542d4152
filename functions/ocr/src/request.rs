//! Body bytes -> [`Request`]: framing, limits, names.
//!
//! In: the parts of an HTTP request. Out: the image's bytes, still unopened, and what the caller wants done with them.

use ephemera_http::{Fields, Form, HttpRequest, MAX_BODY_BYTES, shortened};
use ephemera_vision::Region;

use crate::Error;
use crate::language::{self, Language};
use crate::pack::Pack;

/// What a form may have beside fields that are passed over; a query has only the texts.
const FIELDS: Fields = Fields {
    files: &["image"],
    max_files: 1,
    texts: &["engine", "language", "format", "page", "region", "words"],
    // No engine, language or format has a longer name.
    max_text_bytes: 64,
};

/// A request for text.
#[derive(Debug, PartialEq, Eq)]
pub struct Request {
    /// The file, not yet looked at. Not empty.
    pub image: Vec<u8>,
    /// The name to answer under.
    pub engine: Engine,
    /// What the text is written in.
    pub language: Language,
    /// How to write the answer.
    pub format: Format,
    /// Which page of a file that has several, from 1.
    pub page: u32,
    /// Which part of the upright page, in its pixels; all of it if `None`.
    pub region: Option<Region>,
    /// Whether the words' boxes are wanted in [`Format::Kalanjiyam`]; the other formats have them or have no place.
    pub words: bool,
}

/// A name that clients know an OCR engine by. The same models run under each.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Engine {
    /// Our own name.
    Ephemera,
    /// An alias for clients that only offer this name; its boxes have another shape.
    Surya,
    /// An alias for clients that only offer this name.
    Tesseract,
}

impl Engine {
    /// All names, our own first.
    pub const ALL: [Engine; 3] = [Engine::Ephemera, Engine::Surya, Engine::Tesseract];

    /// The name in requests and answers.
    pub fn name(self) -> &'static str {
        match self {
            Engine::Ephemera => "ephemera",
            Engine::Surya => "surya",
            Engine::Tesseract => "tesseract",
        }
    }

    /// The names on offer: all, or without the aliases our own.
    pub fn offered(aliases: bool) -> &'static [Engine] {
        if aliases {
            &Engine::ALL
        } else {
            &Engine::ALL[..1]
        }
    }
}

/// A shape of answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// JSON as the Kalanjiyam OCR service answers.
    Kalanjiyam,
    /// JSON as Surya writes its results.
    Surya,
    /// The text alone.
    Text,
    /// Tab-separated values with Tesseract's columns.
    Tsv,
    /// hOCR 1.2.
    Hocr,
    /// ALTO 4.
    Alto,
    /// The image with its text behind it, to select and to search.
    Pdf,
}

impl Format {
    /// All formats, the default first.
    pub const ALL: [Format; 7] = [
        Format::Kalanjiyam,
        Format::Surya,
        Format::Text,
        Format::Tsv,
        Format::Hocr,
        Format::Alto,
        Format::Pdf,
    ];

    /// The names in requests; the first is the one in messages.
    pub fn names(self) -> &'static [&'static str] {
        match self {
            Format::Kalanjiyam => &["json", "kalanjiyam"],
            Format::Surya => &["surya"],
            Format::Text => &["text", "txt", "plain"],
            Format::Tsv => &["tsv"],
            Format::Hocr => &["hocr"],
            Format::Alto => &["alto"],
            Format::Pdf => &["pdf"],
        }
    }

    /// What the answer is declared as.
    pub fn media_type(self) -> &'static str {
        match self {
            Format::Kalanjiyam | Format::Surya => "application/json",
            Format::Text => "text/plain; charset=utf-8",
            Format::Tsv => "text/tab-separated-values; charset=utf-8",
            Format::Hocr => "text/vnd.hocr+html; charset=utf-8",
            Format::Alto => "application/alto+xml",
            Format::Pdf => "application/pdf",
        }
    }
}

impl Request {
    /// Reads the framing of a request. `aliases`: whether engines go by the names of others too; `packs`: what is loaded.
    ///
    /// Names come from the form's fields, else from the query; the format from there too, else from `Accept`.
    ///
    /// # Errors
    /// Every [`Error`] of 400, 413, 415 and 422 but those of the image itself.
    pub fn parse(
        mut request: HttpRequest<'_>,
        aliases: bool,
        packs: &[Pack],
    ) -> Result<Request, Error> {
        if request.body.len() > MAX_BODY_BYTES {
            return Err(Error::BodyTooLarge {
                limit_bytes: MAX_BODY_BYTES,
            });
        }
        let body = std::mem::take(&mut request.body);
        let media = request.media_type();
        let accept = request.header("accept").unwrap_or("");
        let mut fields = Form::from_query(&FIELDS, request.query())?;
        let accepted = accepted_format(accept);
        let image = match media.as_str() {
            "multipart/form-data" => {
                let mut form = Form::from_multipart(&FIELDS, request.content_type(), body)?;
                let image = form.files.pop().ok_or(Error::MissingField("image"))?;
                fields = form.or(fields);
                image
            }
            raw if raw.starts_with("image/") || raw == "application/octet-stream" => body,
            _ => {
                return Err(Error::ContentType {
                    actual: shortened(&media),
                });
            }
        };
        if image.is_empty() {
            return Err(Error::Empty);
        }
        Ok(Request {
            image,
            engine: engine(fields.text("engine"), aliases)?,
            language: language(fields.text("language"), packs)?,
            format: format(fields.text("format"), accepted)?,
            page: page(fields.text("page"))?,
            region: region(fields.text("region"))?,
            words: words(fields.text("words"))?,
        })
    }
}

fn engine(name: Option<String>, aliases: bool) -> Result<Engine, Error> {
    let Some(name) = name.filter(|name| !name.is_empty()) else {
        return Ok(Engine::Ephemera);
    };
    let offered = Engine::offered(aliases);
    let found = offered
        .iter()
        .find(|engine| engine.name().eq_ignore_ascii_case(&name));
    found.copied().ok_or_else(|| {
        let available: Vec<&str> = offered.iter().map(|engine| engine.name()).collect();
        Error::Engine {
            actual: shortened(&name),
            available: available.join(", "),
        }
    })
}

fn language(code: Option<String>, packs: &[Pack]) -> Result<Language, Error> {
    let Some(code) = code.filter(|code| !code.is_empty()) else {
        return Ok(Language::any(packs));
    };
    Language::find(&code, packs).ok_or_else(|| Error::Language {
        actual: shortened(&code),
        packs: language::loaded(packs),
    })
}

fn format(name: Option<String>, accepted: Format) -> Result<Format, Error> {
    let Some(name) = name.filter(|name| !name.is_empty()) else {
        return Ok(accepted);
    };
    let lower = name.to_ascii_lowercase();
    let found = Format::ALL
        .into_iter()
        .find(|format| format.names().contains(&lower.as_str()));
    found.ok_or_else(|| Error::Format {
        actual: shortened(&name),
    })
}

fn words(value: Option<String>) -> Result<bool, Error> {
    match value.as_deref().unwrap_or("") {
        "true" | "1" => Ok(true),
        "false" | "0" | "" => Ok(false),
        actual => Err(Error::Words {
            actual: shortened(actual),
        }),
    }
}

fn page(number: Option<String>) -> Result<u32, Error> {
    let Some(number) = number.filter(|number| !number.is_empty()) else {
        return Ok(1);
    };
    let page = number.parse().ok().filter(|&page| page > 0);
    page.ok_or_else(|| Error::PageNumber {
        actual: shortened(&number),
    })
}

/// Four whole numbers. Whether they fit the picture is known when it has been opened.
fn region(value: Option<String>) -> Result<Option<Region>, Error> {
    let Some(value) = value.filter(|value| !value.is_empty()) else {
        return Ok(None);
    };
    let numbers: Option<Vec<u32>> = value.split(',').map(|n| n.trim().parse().ok()).collect();
    match numbers.as_deref() {
        Some(&[x, y, width, height]) => Ok(Some(Region {
            x,
            y,
            width,
            height,
        })),
        _ => Err(Error::RegionSyntax {
            actual: shortened(&value),
        }),
    }
}

/// The format that an `Accept` header prefers (RFC 9110, 12.5.1), of equals the first; JSON where it names none that we
/// have.
fn accepted_format(accept: &str) -> Format {
    let ranges = accept.split(',').filter_map(|range| {
        let mut parts = range.split(';').map(str::trim);
        let name = parts.next().unwrap_or("").to_ascii_lowercase();
        let weight = parts
            .filter_map(|parameter| parameter.split_once('='))
            .filter(|(name, _)| name.trim().eq_ignore_ascii_case("q"))
            .find_map(|(_, weight)| weight.trim().parse::<f32>().ok())
            .unwrap_or(1.0);
        let format = match name.as_str() {
            "text/plain" | "text/*" => Some(Format::Text),
            "text/tab-separated-values" => Some(Format::Tsv),
            "text/vnd.hocr+html" => Some(Format::Hocr),
            "application/alto+xml" => Some(Format::Alto),
            // Browsers name it beside HTML, and do not mean ALTO.
            "application/xml" | "text/xml" if !accept.contains("html") => Some(Format::Alto),
            "application/pdf" => Some(Format::Pdf),
            "application/json" | "application/*" | "*/*" => Some(Format::Kalanjiyam),
            _ => None,
        };
        format
            .filter(|_| weight > 0.0)
            .map(|format| (format, weight))
    });
    let best = ranges.reduce(|best, next| if next.1 > best.1 { next } else { best });
    best.map_or(Format::Kalanjiyam, |(format, _)| format)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::testing::Fake;

    /// One pack, which reads English, Greek and German.
    fn packs() -> [Pack; 1] {
        let spec = "name = \"latin\"\nlanguages = [\"en\", \"el\", \"de\"]\nscripts = [\"Latn\", \"Grek\"]";
        [Fake::pack_of("ocr-recogniser-latin", spec, &["a"], vec![])]
    }

    fn parse(target: &str, headers: &[(&str, &str)], body: &[u8]) -> Result<Request, Error> {
        let headers: Vec<(String, String)> = headers
            .iter()
            .map(|&(name, value)| (name.to_owned(), value.to_owned()))
            .collect();
        let request = HttpRequest {
            method: "POST",
            target,
            headers: &headers,
            body: body.to_vec(),
        };
        Request::parse(request, true, &packs())
    }

    fn multipart(parts: &[(&str, &str)]) -> Vec<u8> {
        let mut body = String::new();
        for (disposition, content) in parts {
            body += &format!(
                "--edge\r\nContent-Disposition: form-data; {disposition}\r\n\r\n{content}\r\n"
            );
        }
        (body + "--edge--\r\n").into_bytes()
    }

    const FORM: (&str, &str) = ("Content-Type", "multipart/form-data; boundary=edge");

    #[test]
    fn raw_bodies_take_their_names_from_the_query() {
        let png = [("content-type", "image/png")];
        let plain = parse("/v1/ocr", &png, b"x").expect("valid");
        let expected = Request {
            image: b"x".to_vec(),
            engine: Engine::Ephemera,
            language: Language::any(&packs()),
            format: Format::Kalanjiyam,
            page: 1,
            region: None,
            words: false,
        };
        assert_eq!(plain, expected);
        let named = parse(
            "/v1/ocr?engine=surya&language=de-AT&format=text&other=1",
            &png,
            b"x",
        )
        .expect("valid");
        assert_eq!(
            (named.engine, named.language.tag.as_str(), named.format),
            (Engine::Surya, "de", Format::Text)
        );
        assert_eq!(named.language.requested, "de-AT");
        // Percent signs, plus signs, empty values.
        let odd = parse("/v1/ocr?engine=%73urya&language=&format=", &png, b"x").expect("valid");
        assert_eq!(
            (odd.engine, odd.language),
            (Engine::Surya, Language::any(&packs()))
        );
    }

    #[test]
    fn forms_win_over_the_query() {
        let body = multipart(&[
            (r#"name="engine""#, "tesseract"),
            (r#"name="image"; filename="a.png""#, "one\r\ntwo"),
            (r#"name="unknown""#, "skipped"),
            (r#"name="language""#, "eng"),
        ]);
        let request = parse("/v1/ocr?engine=surya&format=surya", &[FORM], &body).expect("valid");
        assert_eq!(request.image, b"one\r\ntwo");
        assert_eq!(
            (
                request.engine,
                request.language.tag.as_str(),
                request.format
            ),
            (Engine::Tesseract, "en", Format::Surya)
        );
    }

    #[test]
    fn a_page_and_a_part_of_it_can_be_asked_for() {
        let png = [("content-type", "image/tiff")];
        let target = "/v1/ocr?page=3&region=10,%2020,300,40";
        let request = parse(target, &png, b"x").expect("valid");
        let expected = Region {
            x: 10,
            y: 20,
            width: 300,
            height: 40,
        };
        assert_eq!((request.page, request.region), (3, Some(expected)));
        let body = multipart(&[(r#"name="image""#, "x"), (r#"name="page""#, "2")]);
        let request = parse(target, &[FORM], &body).expect("valid");
        assert_eq!((request.page, request.region), (2, Some(expected)));
    }

    #[test]
    fn formats_follow_accept_unless_named() {
        let cases = [
            ("", "/v1/ocr", Format::Kalanjiyam),
            ("*/*", "/v1/ocr", Format::Kalanjiyam),
            (
                "application/json, text/plain",
                "/v1/ocr",
                Format::Kalanjiyam,
            ),
            (
                "text/html, text/plain;q=0.9, */*;q=0.1",
                "/v1/ocr",
                Format::Text,
            ),
            ("image/webp", "/v1/ocr", Format::Kalanjiyam),
            ("text/tab-separated-values", "/v1/ocr", Format::Tsv),
            ("text/vnd.hocr+html, text/plain", "/v1/ocr", Format::Hocr),
            ("Application/ALTO+XML;q=1", "/v1/ocr", Format::Alto),
            ("application/xml", "/v1/ocr", Format::Alto),
            (
                "application/pdf;q=0.5, text/plain; q=0.8, */*;q=0.1",
                "/v1/ocr",
                Format::Text,
            ),
            (
                "application/pdf;q=0, */*;q=0.1",
                "/v1/ocr",
                Format::Kalanjiyam,
            ),
            (
                "text/plain;q=much, application/pdf",
                "/v1/ocr",
                Format::Text,
            ),
            ("application/pdf", "/v1/ocr", Format::Pdf),
            ("", "/v1/ocr?format=hOCR", Format::Hocr),
            ("", "/v1/ocr?format=tsv", Format::Tsv),
            ("", "/v1/ocr?format=alto", Format::Alto),
            ("", "/v1/ocr?format=pdf", Format::Pdf),
            ("text/plain", "/v1/ocr?format=surya", Format::Surya),
            ("text/plain", "/v1/ocr?format=json", Format::Kalanjiyam),
        ];
        for (accept, target, expected) in cases {
            let request = parse(
                target,
                &[("content-type", "image/tiff"), ("accept", accept)],
                b"x",
            )
            .expect("valid");
            assert_eq!(request.format, expected, "{accept} {target}");
        }
    }

    #[test]
    fn every_mistake_has_its_answer() {
        struct Case {
            name: &'static str,
            target: &'static str,
            headers: &'static [(&'static str, &'static str)],
            body: Vec<u8>,
            status: u16,
            detail: &'static str,
        }
        let base = || Case {
            name: "",
            target: "/v1/ocr",
            headers: &[FORM],
            body: Vec::new(),
            status: 400,
            detail: "",
        };
        let raw: &[(&str, &str)] = &[("content-type", "image/png")];
        let image = r#"name="image""#;
        let cases = [
            Case {
                name: "no type",
                headers: &[],
                body: b"x".to_vec(),
                status: 415,
                detail: "content type \"\"",
                ..base()
            },
            Case {
                name: "json",
                headers: &[("content-type", "application/json; a=b")],
                body: b"{}".to_vec(),
                status: 415,
                detail: "application/json",
                ..base()
            },
            Case {
                name: "empty raw",
                headers: raw,
                detail: "image is empty",
                ..base()
            },
            Case {
                name: "too large",
                headers: raw,
                body: vec![0; MAX_BODY_BYTES + 1],
                status: 413,
                detail: "10485760",
                ..base()
            },
            Case {
                name: "no boundary",
                headers: &[("content-type", "multipart/form-data")],
                body: b"x".to_vec(),
                detail: "boundary",
                ..base()
            },
            Case {
                name: "empty form",
                detail: "multipart",
                ..base()
            },
            Case {
                name: "no image",
                body: multipart(&[(r#"name="engine""#, "surya")]),
                detail: "\"image\" is missing",
                ..base()
            },
            Case {
                name: "empty image",
                body: multipart(&[(image, "")]),
                detail: "image is empty",
                ..base()
            },
            Case {
                name: "two images",
                body: multipart(&[(image, "a"), (image, "b")]),
                detail: "\"image\" is given more",
                ..base()
            },
            Case {
                name: "two engines",
                body: multipart(&[
                    (image, "a"),
                    (r#"name="engine""#, "surya"),
                    (r#"name="engine""#, "surya"),
                ]),
                detail: "\"engine\" is given more",
                ..base()
            },
            Case {
                name: "two engines in the query",
                target: "/v1/ocr?engine=surya&engine=surya",
                headers: raw,
                body: b"x".to_vec(),
                detail: "\"engine\" is given more",
                ..base()
            },
            Case {
                name: "cut form",
                body: multipart(&[(image, "abc")])[..60].to_vec(),
                detail: "multipart",
                ..base()
            },
            Case {
                name: "long engine",
                body: multipart(&[
                    (image, "a"),
                    (
                        r#"name="engine""#,
                        "surya surya surya surya surya surya surya surya surya surya surya surya ",
                    ),
                ]),
                detail: "longer than 64",
                ..base()
            },
            Case {
                name: "engine",
                target: "/v1/ocr?engine=google",
                headers: raw,
                body: b"x".to_vec(),
                status: 422,
                detail: "ephemera, surya, tesseract",
            },
            Case {
                name: "language",
                target: "/v1/ocr?language=sa",
                headers: raw,
                body: b"x".to_vec(),
                status: 422,
                detail: "loaded packs: latin",
            },
            Case {
                name: "format",
                target: "/v1/ocr?format=xml",
                headers: raw,
                body: b"x".to_vec(),
                status: 422,
                detail: "json, surya, text, tsv, hocr, alto, pdf",
            },
            Case {
                name: "words",
                target: "/v1/ocr?words=maybe",
                headers: raw,
                body: b"x".to_vec(),
                status: 422,
                detail: "words \"maybe\"",
            },
            Case {
                name: "page",
                target: "/v1/ocr?page=0",
                headers: raw,
                body: b"x".to_vec(),
                status: 422,
                detail: "page \"0\" is not a number from 1",
            },
            Case {
                name: "region of three",
                target: "/v1/ocr?region=1,2,3",
                headers: raw,
                body: b"x".to_vec(),
                status: 422,
                detail: "region \"1,2,3\" is not x,y,width,height",
            },
            Case {
                name: "negative region",
                target: "/v1/ocr?region=-1,2,3,4",
                headers: raw,
                body: b"x".to_vec(),
                status: 422,
                detail: "region",
            },
        ];
        for Case {
            name,
            target,
            headers,
            body,
            status,
            detail,
        } in cases
        {
            let error = parse(target, headers, &body).expect_err(name);
            assert_eq!(error.status(), status, "{name}: {error}");
            assert!(error.to_string().contains(detail), "{name}: {error}");
        }
    }

    #[test]
    fn words_are_asked_for_in_the_query_or_the_form() {
        let png = [("content-type", "image/png")];
        for (query, expected) in [
            ("", false),
            ("words=true", true),
            ("words=1", true),
            ("words=false", false),
            ("words=", false),
        ] {
            let request = parse(&format!("/v1/ocr?{query}"), &png, b"x").expect("valid");
            assert_eq!(request.words, expected, "{query}");
        }
        let body = multipart(&[(r#"name="image""#, "x"), (r#"name="words""#, "true")]);
        assert!(parse("/v1/ocr", &[FORM], &body).expect("valid").words);
    }

    #[test]
    fn every_format_has_names_of_its_own() {
        let mut names: Vec<&str> = Format::ALL
            .iter()
            .flat_map(|f| f.names())
            .copied()
            .collect();
        let count = names.len();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), count);
        for name in Format::ALL.map(|f| f.names()[0]) {
            let error = Error::Format {
                actual: String::new(),
            }
            .to_string();
            assert!(error.contains(name), "{error}");
        }
    }

    #[test]
    fn without_aliases_only_our_own_name_is_left() {
        assert_eq!(
            engine(Some("surya".to_owned()), false)
                .expect_err("an alias")
                .status(),
            422
        );
        assert_eq!(
            engine(Some("Ephemera".to_owned()), false).expect("our own"),
            Engine::Ephemera
        );
    }

    proptest! {
        #[test]
        fn any_request_is_answered(
            query in ".{0,40}",
            content_type in prop_oneof![Just(FORM.1.to_owned()), ".{0,40}", "multipart/form-data; boundary=.{0,80}"],
            accept in ".{0,40}",
            body in prop_oneof![
                proptest::collection::vec(any::<u8>(), 0..200),
                "(--edge\r\n[A-Za-z-]{0,20}: form-data; name=\"(image|engine)?\"\r\n\r\n.{0,20}\r\n){0,3}(--edge--)?".prop_map(String::into_bytes),
            ],
        ) {
            let headers = [("content-type", content_type.as_str()), ("accept", accept.as_str())];
            if let Ok(request) = parse(&format!("/v1/ocr?{query}"), &headers, &body) {
                prop_assert!(!request.image.is_empty() && request.image.len() <= body.len());
            }
        }
    }
}
