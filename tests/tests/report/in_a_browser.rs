//! The page as people see it, in a real Chromium.

use std::{env, fs, path::Path};

use jiff::{Timestamp, ToSpan as _};
use quell_engine::ledger::{Exemption, Status};
use quell_tests::{
    browser::Browser,
    records::{Differing as _, put, record},
    rig::Rig,
    root,
};
use serde_json::{Value, json};

use super::{demo, exemption, write_page};

/// WebDriver's keys: <https://www.w3.org/TR/webdriver2/#keyboard-actions>
const ENTER: char = '\u{e007}';
const SPACE: char = ' ';
const TAB: char = '\u{e004}';

#[tokio::test]
async fn hostile_names_stay_text_and_the_page_asks_nobody_for_anything() {
    let rig = Rig::start().await;
    let names = [
        "<script>alert(1)</script>".to_owned(),
        "\"><img src=x onerror=alert(2)>".to_owned(),
        "'><svg/onload=alert(3)>".to_owned(),
        "</style></title></table><h1>approved</h1>".to_owned(),
        "https://evil.example/login".to_owned(),
        "javascript:alert(4)".to_owned(),
        "{{7*7}}${7*7}".to_owned(),
        "safe\u{202e}dexif\u{2066}".to_owned(),
        "x".repeat(10_000),
        "W".repeat(255),
    ];
    for (minutes, name) in (1..).zip(&names) {
        let at = Timestamp::now() - minutes.minutes();
        let failed = record("s3-public-acl", name, at, Status::Failed).by(name).because(name);
        put(&rig.ledger, failed).await;
        let pending = record("sg-open-ingress", name, at, Status::Pending).by(name);
        put(&rig.ledger, pending.expiring(at + 24.hours())).await;
        for n in 0..3 {
            let fixed = record("ec2-imdsv2", name, at - n.hours(), Status::Fixed).fixed_after(9);
            put(&rig.ledger, fixed.by(&format!("role deploy (session {name})"))).await;
        }
        let exemption = exemption(&format!("bucket-{minutes}"), minutes);
        let [resource, reason, owner, person] = [(); 4].map(|()| name.clone());
        let exemption = Exemption { resource, reason, owner, person, ..exemption };
        rig.ledger.grant(&exemption).await.unwrap();
    }

    let (_folder, page) = written(&rig);
    let browser = Browser::start().await;
    browser.open(&page).await;
    let asked = browser.requests().await;
    assert_eq!(asked, [format!("file://{}", page.display())], "the page, and nothing else");
    assert_eq!(browser.complaints().await, Vec::<Value>::new());

    // What is on the page is what the report makes, and nothing that a name brought along.
    let found = browser.run(WHAT_A_NAME_COULD_BRING).await;
    assert_eq!(found, json!([]));
    let text = browser.run("return document.body.innerText").await;
    let text = text.as_str().unwrap();
    for name in &names[..7] {
        assert!(text.matches(name.as_str()).count() >= 6, "{name}");
    }
    assert!(text.contains("safedexif") && !text.contains(['\u{202e}', '\u{2066}']));
    assert!(text.contains(&format!("{}…", "x".repeat(255))) && !text.contains(&"x".repeat(257)));

    for (width, height, mobile) in [(375, 812, true), (320, 640, true), (1280, 900, false)] {
        browser.resize(width, height, 1.0, mobile).await;
        fits(&browser, &format!("hostile names at {width} px")).await;
        pictures(&browser, &format!("hostile-{width}")).await;
    }

    // The policy of the page holds: what would be brought in is not run.
    let refused = browser
        .run("document.body.insertAdjacentHTML('beforeend', '<img src=https://evil.example/a.png><p style=color:red onclick=alert(1)>'); const s = document.createElement('script'); s.textContent = 'window.ran = true'; document.body.append(s); return window.ran === undefined")
        .await;
    assert_eq!(refused, true);
    let blocked = browser.complaints().await;
    assert!(blocked.len() >= 3, "{blocked:#?}");
    let by_policy =
        |entry: &Value| entry["message"].as_str().unwrap().contains("Content Security Policy");
    assert!(blocked.iter().all(by_policy), "{blocked:#?}");
    assert_eq!(browser.requests().await, [""; 0]);
}

#[tokio::test]
async fn a_month_is_readable_on_a_desktop_on_a_telephone_in_the_dark_and_on_paper() {
    let rig = Rig::start().await;
    demo::fill(&rig.ledger).await;
    let (_folder, page) = written(&rig);
    let browser = Browser::start().await;

    browser.resize(1280, 900, 1.0, false).await;
    browser.media("screen", "light").await;
    browser.open(&page).await;
    fits(&browser, "on a desktop").await;
    let light = contrasts(&browser).await;
    pictures(&browser, "desktop-light").await;
    let background = "return getComputedStyle(document.body).backgroundColor";
    let paper = browser.run(background).await;

    browser.media("screen", "dark").await;
    assert_ne!(browser.run(background).await, paper, "dark is dark");
    let dark = contrasts(&browser).await;
    pictures(&browser, "desktop-dark").await;
    for (scheme, (text, charts)) in [("light", light), ("dark", dark)] {
        assert_eq!(text, json!([]), "text that is hard to read, {scheme}");
        assert_eq!(charts, json!([]), "shapes that are hard to see, {scheme}");
    }

    for width in [375, 320] {
        browser.resize(width, 812, 2.0, true).await;
        fits(&browser, &format!("on a telephone of {width} px")).await;
    }
    browser.resize(375, 812, 2.0, true).await;
    let scrolls = "return [...document.querySelectorAll('.scroll')].some((box) => box.scrollWidth > box.clientWidth + 1)";
    assert_eq!(browser.run(scrolls).await, true, "wide tables scroll in their own box");
    pictures(&browser, "phone-dark").await;

    // A4 in CSS pixels, less the margins; paper is white whatever the screen is.
    browser.resize(680, 1000, 1.0, false).await;
    browser.media("print", "dark").await;
    fits(&browser, "on paper").await;
    assert_eq!(browser.run(background).await, paper, "nobody prints a dark page");
    assert_eq!(contrasts(&browser).await.0, json!([]), "text that is hard to read on paper");
    let cut = "return [...document.querySelectorAll('.scroll')].filter((box) => box.scrollWidth > box.clientWidth + 1).map((box) => box.getAttribute('aria-label'))";
    assert_eq!(browser.run(cut).await, json!([]), "no table is cut off on paper");
    pictures(&browser, "print").await;
    let pdf = browser.printed().await;
    assert!(pdf.starts_with(b"%PDF-"));
    keep("report.pdf", &pdf);

    assert_eq!(browser.complaints().await, Vec::<Value>::new());
    assert_eq!(browser.requests().await.len(), 1, "the page, and nothing else");
}

#[tokio::test]
async fn tables_are_sorted_by_mouse_and_by_keyboard_and_say_so() {
    let rig = Rig::start().await;
    demo::fill(&rig.ledger).await;
    let (_folder, page) = written(&rig);
    let browser = Browser::start().await;
    browser.resize(1280, 900, 1.0, false).await;
    browser.open(&page).await;
    let table = "#principals table";

    // Found, the most first, as the page is made.
    let found = numbers(&browser, table, 1).await;
    assert!(found.len() > 3 && found.is_sorted_by(|one, next| one >= next), "{found:?}");
    assert_eq!(order(&browser, table).await, json!(["Found", "descending"]));

    browser.click("#principals th:nth-child(2) button").await;
    let found = numbers(&browser, table, 1).await;
    assert!(found.is_sorted(), "{found:?}");
    assert_eq!(order(&browser, table).await, json!(["Found", "ascending"]));

    // The next column has the focus after a tab; numbers begin with the largest.
    browser.press(TAB).await;
    browser.press(ENTER).await;
    assert_eq!(order(&browser, table).await, json!(["Fixed", "descending"]));
    let fixed = numbers(&browser, table, 2).await;
    assert!(fixed.is_sorted_by(|one, next| one >= next), "{fixed:?}");
    browser.press(SPACE).await;
    assert_eq!(order(&browser, table).await, json!(["Fixed", "ascending"]));

    browser.click("#principals th:nth-child(1) button").await;
    assert_eq!(order(&browser, table).await, json!(["Principal", "ascending"]));
    let first = "return document.querySelector('#principals tbody th').innerText";
    let first = browser.run(first).await;
    assert!(first.as_str().unwrap().starts_with("role "), "{first}");

    // Times are sorted as times, lengths of time as lengths, not by their words.
    for (table, column) in [("#exemptions table", 4), ("#time > .scroll table", 5)] {
        let button = format!("{table} thead th:nth-child({column}) button");
        for clicks in 1..3 {
            browser.click(&button).await;
            let values = numbers(&browser, table, column - 1).await;
            let up = values.is_sorted();
            let down = values.is_sorted_by(|one, next| one >= next);
            assert!(values.len() > 2 && up != down, "{table} after {clicks} clicks: {values:?}");
        }
    }
    assert_eq!(browser.complaints().await, Vec::<Value>::new());
}

#[tokio::test]
async fn an_empty_ledger_makes_a_page_that_says_so() {
    let rig = Rig::start().await;
    let (_folder, page) = written(&rig);
    let browser = Browser::start().await;
    browser.open(&page).await;
    let text = browser.run("return document.body.innerText").await;
    let text = text.as_str().unwrap();
    assert!(text.contains("The ledger has no records of this period"), "{text}");
    assert!(!text.contains("NaN") && !text.contains("undefined"), "{text}");
    assert_eq!(browser.run("return document.querySelectorAll('table, svg').length").await, 0);
    assert_eq!(browser.complaints().await, Vec::<Value>::new());
    browser.resize(375, 812, 2.0, true).await;
    fits(&browser, "nothing").await;
    pictures(&browser, "empty").await;
}

/// `UPDATE=1 cargo nextest run --workspace --test report -E 'test(readme)'` makes the picture of the README anew.
#[tokio::test]
async fn the_readme_shows_the_page_of_a_month() {
    let rig = Rig::start().await;
    demo::fill(&rig.ledger).await;
    let (_folder, page) = written(&rig);
    let browser = Browser::start().await;
    browser.resize(1180, 1322, 1.0, false).await;
    browser.media("screen", "light").await;
    browser.open(&page).await;
    let shot = browser.screenshot(false).await;
    let picture = root("docs/report.png");
    if env::var_os("UPDATE").is_some() {
        fs::write(&picture, &shot).unwrap();
    }
    let kept = fs::read(&picture).unwrap();
    assert!(kept.len() < 200_000, "{} bytes", kept.len());
    for picture in [kept, shot] {
        assert!(picture.starts_with(b"\x89PNG") && picture.len() > 20_000);
    }
}

/// The page that the command makes of the rig's ledger. It is gone with the folder.
fn written(rig: &Rig) -> (tempfile::TempDir, std::path::PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let page = folder.path().join("report.html");
    write_page(rig, &page);
    (folder, page)
}

/// No horizontal scroll bar for the page, and nothing that sticks out of it but within a box of its own.
async fn fits(browser: &Browser, what: &str) {
    let sticks_out = "
        const width = document.documentElement.clientWidth;
        if (document.documentElement.scrollWidth > width) return ['the page', document.documentElement.scrollWidth];
        return [...document.querySelectorAll('body *')]
            .filter((one) => !one.closest('.scroll') && one.getBoundingClientRect().right > width + 1)
            .map((one) => one.outerHTML.slice(0, 80));";
    assert_eq!(browser.run(sticks_out).await, json!([]), "{what}");
}

/// The texts and the shapes of charts whose contrast with what is behind them is less than WCAG's AA asks for.
async fn contrasts(browser: &Browser) -> (Value, Value) {
    let weak = browser.run(CONTRAST).await;
    (weak["text"].clone(), weak["charts"].clone())
}

/// <https://www.w3.org/TR/WCAG22/#contrast-minimum>, <https://www.w3.org/TR/WCAG22/#non-text-contrast>
const CONTRAST: &str = "
    const parse = (colour) => (colour.match(/[\\d.]+/g) ?? [0, 0, 0, 0]).map(Number);
    const over = ([r, g, b, a = 1], below) => [r, g, b].map((c, i) => c * a + below[i] * (1 - a));
    const behind = (one) => {
        if (!one) return [255, 255, 255];
        return over(parse(getComputedStyle(one).backgroundColor), behind(one.parentElement));
    };
    const light = (c) => c.map((v) => v / 255).map((v) => v <= .04045 ? v / 12.92 : ((v + .055) / 1.055) ** 2.4)
        .reduce((sum, v, i) => sum + v * [.2126, .7152, .0722][i], 0);
    const contrast = (one, two) => {
        const [dark, bright] = [light(one), light(two)].sort((a, b) => a - b);
        return (bright + .05) / (dark + .05);
    };
    const text = [], charts = [];
    for (const one of document.querySelectorAll('body *')) {
        if (one.checkVisibility && !one.checkVisibility()) continue;
        const style = getComputedStyle(one);
        const shows = [...one.childNodes].some((node) => node.nodeType === 3 && node.textContent.trim());
        const inSvg = one.namespaceURI.endsWith('svg');
        if (shows && !['SCRIPT', 'STYLE', 'title', 'desc'].includes(one.tagName)) {
            const below = behind(inSvg ? one.closest('svg') : one);
            const ratio = contrast(over(parse(inSvg ? style.fill : style.color), below), below);
            if (ratio < 4.5) text.push([one.tagName, one.textContent.slice(0, 40), ratio]);
        }
        if (one.tagName === 'rect' || one.classList.contains('swatch')) {
            const below = behind(one.closest('svg') ?? one.parentElement);
            const ratio = contrast(over(parse(one.tagName === 'rect' ? style.fill : style.backgroundColor), below), below);
            if (ratio < 3) charts.push([one.getAttribute('class'), ratio]);
        }
    }
    return {text, charts};";

/// Elements and attributes that the report does not make.
const WHAT_A_NAME_COULD_BRING: &str = "
    const own = new Set('a bdi body button caption code dd desc details div dl dt figure footer h1 h2 head header html li line main meta nav p rect script section small span strong style summary svg table tbody td text th thead time title tr tspan ul'.split(' '));
    return [...document.querySelectorAll('*')].filter((one) =>
        !own.has(one.tagName.toLowerCase())
        || [...one.attributes].some(({name}) => name.startsWith('on') || ['src', 'style'].includes(name))
        || (one.hasAttribute('href') && !one.getAttribute('href').startsWith('#'))
        || (one.tagName === 'BDI' && one.children.length > 0)
    ).map((one) => one.outerHTML.slice(0, 120));";

/// What the rows are sorted by in a column.
async fn numbers(browser: &Browser, table: &str, column: u32) -> Vec<f64> {
    let script = format!(
        "return [...document.querySelector('{table}').tBodies[0].rows].map((row) => row.cells[{column}].dataset.value).filter((value) => value !== undefined).map(Number)"
    );
    serde_json::from_value(browser.run(&script).await).unwrap()
}

/// By which column a table says that it is sorted, and how.
async fn order(browser: &Browser, table: &str) -> Value {
    let script = format!(
        "const heads = document.querySelectorAll('{table} th[aria-sort]'); if (heads.length !== 1) return heads.length; return [heads[0].textContent, heads[0].getAttribute('aria-sort')]"
    );
    browser.run(&script).await
}

/// For people who want to look: `QUELL_PICTURES` names a folder.
async fn pictures(browser: &Browser, name: &str) {
    if env::var_os("QUELL_PICTURES").is_some() {
        keep(&format!("{name}.png"), &browser.screenshot(true).await);
    }
}

fn keep(name: &str, bytes: &[u8]) {
    if let Some(folder) = env::var_os("QUELL_PICTURES") {
        fs::write(Path::new(&folder).join(name), bytes).unwrap();
    }
}
