//! Both sides connected, and somebody in the middle.

use super::*;
use proptest::prelude::*;

const REQUEST: RequestId = [4; 16];

fn code(text: &str) -> Code {
    text.parse().unwrap()
}

fn random(seed: u8) -> [u8; RANDOM_BYTES] {
    std::array::from_fn(|place| seed.wrapping_mul(31).wrapping_add(place as u8))
}

fn admitter(key: &ClusterKey) -> Admitter {
    Admitter {
        cluster: key.cluster(),
        name: "n1".into(),
    }
}

/// Both sides up to the point where the operator's has proven itself.
struct Met {
    confirming: Confirming,
    asking: Asking,
    confirmation: [u8; CONFIRMATION_BYTES],
}

fn meet(typed: &str, shown: &str, key: &ClusterKey) -> Met {
    let (admitting, opening) = Admitting::start(code(typed), REQUEST, &admitter(key), &random(1));
    let opening = Opening::parse(&opening).unwrap();
    let (asking, answer) = Asking::answer(code(shown), opening, "n2", &random(2)).unwrap();
    let (confirming, confirmation) = admitting.confirm(&answer).unwrap();
    Met {
        confirming,
        asking,
        confirmation,
    }
}

#[test]
fn who_shows_the_code_that_was_typed_gets_the_key_and_both_know_who_the_other_is() {
    let key = ClusterKey::generate().unwrap();
    let met = meet("48-291507", "48-291507", &key);
    let (proven, confirmation) = met.asking.check(&met.confirmation).unwrap();
    let (sent, record) = met.confirming.send_key(&confirmation, &key).unwrap();
    assert_eq!(sent.name, "n2");
    let admitted = proven.take_key(&record).unwrap();
    assert!(admitted.key == key);
    assert_eq!(admitted.admitter, admitter(&key));
    assert_eq!(sent.finish(&admitted.receipt), Ok(()));
}

#[test]
fn a_wrong_code_admits_nobody_whichever_side_has_it() {
    let key = ClusterKey::generate().unwrap();
    let met = meet("48-291507", "48-291508", &key);
    assert_eq!(
        met.asking.check(&met.confirmation).err(),
        Some(ExchangeError::WrongCode)
    );
    // Nor does the operator's side send anything to who says yes nevertheless.
    for confirmation in [met.confirmation, [0; CONFIRMATION_BYTES]] {
        let met = meet("48-291507", "48-291508", &key);
        let sent = met.confirming.send_key(&confirmation, &key);
        assert_eq!(sent.err(), Some(ExchangeError::WrongCode));
    }
}

#[test]
fn somebody_in_the_middle_who_puts_in_his_own_shares_is_found_out_by_both() {
    let key = ClusterKey::generate().unwrap();
    let (his_key, shown) = (ClusterKey::generate().unwrap(), code("48-291507"));
    let his_guess = code("48-000000");
    // To the newcomer he is an operator who has typed his guess, to the operator a newcomer who shows it.
    let (to_newcomer, opening) =
        Admitting::start(his_guess, REQUEST, &admitter(&his_key), &random(3));
    let (newcomer, answer) =
        Asking::answer(shown, Opening::parse(&opening).unwrap(), "n2", &random(2)).unwrap();
    let (_, to_confirm) = to_newcomer.confirm(&answer).unwrap();
    let (operator, opening) = Admitting::start(shown, REQUEST, &admitter(&key), &random(1));
    let (to_operator, answer) = Asking::answer(
        his_guess,
        Opening::parse(&opening).unwrap(),
        "n2",
        &random(4),
    )
    .unwrap();
    let (operator, operator_says) = operator.confirm(&answer).unwrap();

    // What one of them has said does not help him with the other.
    assert!(to_operator.check(&operator_says).is_err());
    assert!(newcomer.check(&operator_says).is_err());
    assert!(operator.send_key(&to_confirm, &key).is_err());
}

#[test]
fn somebody_in_the_middle_who_passes_everything_on_learns_and_changes_nothing() {
    let key = ClusterKey::generate().unwrap();
    let met = meet("48-291507", "48-291507", &key);
    let (proven, confirmation) = met.asking.check(&met.confirmation).unwrap();
    let (_, record) = met.confirming.send_key(&confirmation, &key).unwrap();
    let token = key.to_string();
    let secret = token.as_bytes();
    assert!(
        !record
            .windows(8)
            .any(|bytes| secret.windows(8).any(|part| part == bytes))
    );
    for place in (0..record.len()).step_by(7) {
        let met = meet("48-291507", "48-291507", &key);
        let (proven, _) = met.asking.check(&met.confirmation).unwrap();
        let mut changed = record;
        changed[place] ^= 1;
        // The length in front is known, and not looked at.
        let taken = proven.take_key(&changed);
        assert_eq!(taken.is_err(), place >= LENGTH_BYTES, "byte {place}");
    }
    assert!(proven.take_key(&record).is_ok());
}

#[test]
fn names_and_cluster_cannot_be_changed_on_their_way() {
    let key = ClusterKey::generate().unwrap();
    let start = || Admitting::start(code("48-291507"), REQUEST, &admitter(&key), &random(1));
    let respond = |opening: &[u8; OPENING_BYTES]| {
        let opening = Opening::parse(opening).ok()?;
        Asking::answer(code("48-291507"), opening, "n2", &random(2)).ok()
    };
    for place in (8..OPENING_BYTES).step_by(7) {
        let (admitting, mut opening) = start();
        opening[place] ^= 1;
        let Some((asking, answer)) = respond(&opening) else {
            continue;
        };
        let (_, confirmation) = admitting.confirm(&answer).unwrap();
        assert!(asking.check(&confirmation).is_err(), "byte {place}");
    }
    for place in (0..ANSWER_BYTES).step_by(7) {
        let (admitting, opening) = start();
        let (asking, mut answer) = respond(&opening).unwrap();
        answer[place] ^= 1;
        if let Ok((_, confirmation)) = admitting.confirm(&answer) {
            assert!(asking.check(&confirmation).is_err(), "byte {place}");
        }
    }
}

#[test]
fn what_was_recorded_of_one_exchange_is_no_use_in_another_with_the_same_code() {
    let key = ClusterKey::generate().unwrap();
    let recorded = meet("48-291507", "48-291507", &key);
    let (_, newcomer_said) = recorded.asking.check(&recorded.confirmation).unwrap();
    let (admitting, opening) =
        Admitting::start(code("48-291507"), REQUEST, &admitter(&key), &random(5));
    let opening = Opening::parse(&opening).unwrap();
    let (asking, answer) = Asking::answer(code("48-291507"), opening, "n2", &random(6)).unwrap();
    let (confirming, _) = admitting.confirm(&answer).unwrap();
    assert!(asking.check(&recorded.confirmation).is_err());
    assert!(confirming.send_key(&newcomer_said, &key).is_err());
}

#[test]
fn a_key_of_another_cluster_than_was_said_is_not_taken() {
    let (said, other) = (
        ClusterKey::generate().unwrap(),
        ClusterKey::generate().unwrap(),
    );
    let met = meet("48-291507", "48-291507", &said);
    let (proven, confirmation) = met.asking.check(&met.confirmation).unwrap();
    let (_, record) = met.confirming.send_key(&confirmation, &other).unwrap();
    assert_eq!(proven.take_key(&record).err(), Some(ExchangeError::Unsound));
}

#[test]
fn a_name_that_is_too_long_is_cut_between_characters() {
    let mut field = [0; NAME_BYTES];
    put_name(&mut field, &"ü".repeat(40));
    assert_eq!(name_from(&field), Some("ü".repeat(32)));
    field[0] = 255;
    assert_eq!(name_from(&field), None);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(8))]
    #[test]
    fn random_messages_never_prove_anything(
        opening in prop::collection::vec(any::<u8>(), OPENING_BYTES),
        begins_right: bool,
        answer in prop::collection::vec(any::<u8>(), ANSWER_BYTES),
        confirmation: [u8; CONFIRMATION_BYTES],
        record in prop::collection::vec(any::<u8>(), KEY_RECORD_BYTES),
        receipt in prop::collection::vec(any::<u8>(), RECEIPT_BYTES),
    ) {
        let mut opening: [u8; OPENING_BYTES] = opening.try_into().unwrap();
        if begins_right {
            opening[..8].copy_from_slice(&MAGIC);
        }
        if let Ok(opening) = Opening::parse(&opening)
            && let Ok((asking, _)) = Asking::answer(code("48-291507"), opening, "n2", &random(2))
        {
            prop_assert!(asking.check(&confirmation).is_err());
        }
        let key = ClusterKey::open();
        let (admitting, _) =
            Admitting::start(code("48-291507"), REQUEST, &admitter(&key), &random(1));
        if let Ok((confirming, _)) = admitting.confirm(&answer.try_into().unwrap()) {
            prop_assert!(confirming.send_key(&confirmation, &key).is_err());
        }
        let met = meet("48-291507", "48-291507", &key);
        let (proven, confirmation) = met.asking.check(&met.confirmation).unwrap();
        prop_assert!(proven.take_key(&record.try_into().unwrap()).is_err());
        let (sent, _) = met.confirming.send_key(&confirmation, &key).unwrap();
        prop_assert!(sent.finish(&receipt.try_into().unwrap()).is_err());
    }
}
