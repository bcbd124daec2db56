//! The rules of the doorbell lease, in a small world that is explored state by state; see `tests/lease-model`.

use lease_model::{Found, Rule, explore};

fn loses_an_event(rule: Rule) {
    match explore(Some(rule), false) {
        Found::Lost(story) => println!("{rule:?}:\n{story}"),
        Found::Nothing(states) => panic!("{rule:?} breaks nothing: {states} states and no loss"),
    }
}

#[test]
fn three_writers_and_two_relays_lose_no_event_and_always_come_to_rest() {
    match explore(None, true) {
        Found::Nothing(states) => println!("{states} states"),
        Found::Lost(story) => panic!("{story}"),
    }
}

#[test]
fn the_trigger_must_read_the_lease_after_the_event_is_inserted() {
    loses_an_event(Rule::LeaseIsReadBeforeTheEventIsInserted);
}

#[test]
fn the_trigger_must_read_the_present_time() {
    loses_an_event(Rule::WritersClockStandsStill);
}

#[test]
fn a_relay_must_wait_behind_a_fence() {
    loses_an_event(Rule::NoFence);
}

#[test]
fn an_xmax_is_no_fence() {
    loses_an_event(Rule::FenceIsAnXmax);
}

#[test]
fn an_xmax_does_not_pass_the_fence() {
    loses_an_event(Rule::FenceIsPassedByXmax);
}

#[test]
fn a_relay_must_look_behind_the_fence() {
    loses_an_event(Rule::NoLookBehindTheFence);
}

#[test]
fn an_extension_must_ring_where_the_lease_had_run_out() {
    loses_an_event(Rule::NoRingForAnExtension);
}

#[test]
fn the_clock_must_be_read_after_the_extension() {
    loses_an_event(Rule::ClockIsReadBeforeTheExtension);
}

#[test]
fn relays_must_not_extend_at_the_same_time() {
    loses_an_event(Rule::NoLockAmongExtenders);
}

#[test]
fn a_session_must_begin_awake() {
    loses_an_event(Rule::SessionBeginsCalm);
}

#[test]
fn a_lease_that_has_moved_must_count_even_if_it_has_run_out() {
    loses_an_event(Rule::OnlyARunningLeaseCounts);
}

#[test]
fn a_ring_during_a_look_must_be_kept() {
    loses_an_event(Rule::RingsDuringALookAreForgotten);
}

#[test]
fn a_session_must_listen_before_it_looks() {
    loses_an_event(Rule::ListensLate);
}

#[test]
fn writers_and_relays_must_agree_about_a_lease_far_ahead() {
    loses_an_event(Rule::WritersTrustALeaseFarAhead);
}

#[test]
fn a_lease_far_ahead_must_count_as_run_out() {
    loses_an_event(Rule::EverybodyTrustsALeaseFarAhead);
}
