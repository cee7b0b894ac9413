//! A program that reads messages and does nothing else, so that `run` can look
//! at what it is linked from.
#![no_std]

extern crate alloc;

use core::alloc::{GlobalAlloc, Layout};
use core::hint::black_box;

use sip_events::Instant;
use sip_events::wire::{
    Event, Frame, Framer, FramerLimits, Host, Message, MessageView, NameAddr, SubscriptionState, Uri, Via, read,
};

unsafe extern "C" {
    fn malloc(size: usize) -> *mut u8;
    fn realloc(memory: *mut u8, size: usize) -> *mut u8;
    fn free(memory: *mut u8);
    /// Nowhere: who calls it is what `run` looks for.
    safe fn there_is_a_panic() -> !;
}

struct C;

// SAFETY: what is asked for here is never aligned to more than malloc gives.
unsafe impl GlobalAlloc for C {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: as above.
        unsafe { malloc(layout.size()) }
    }

    unsafe fn dealloc(&self, memory: *mut u8, _: Layout) {
        // SAFETY: it comes from `alloc`.
        unsafe { free(memory) }
    }

    unsafe fn realloc(&self, memory: *mut u8, _: Layout, size: usize) -> *mut u8 {
        // SAFETY: it comes from `alloc`.
        unsafe { realloc(memory, size) }
    }
}

#[global_allocator]
static ALLOCATOR: C = C;

#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    there_is_a_panic()
}

/// Whatever can be read of a datagram.
///
/// # Safety
/// `len` bytes are at `bytes`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn read_datagram(bytes: *const u8, len: usize) -> bool {
    // SAFETY: the caller's promise.
    let bytes = unsafe { core::slice::from_raw_parts(bytes, len) };
    let Ok(message) = Message::scan(bytes) else { return false };
    read_all(&message);
    black_box((message.start_line(), message.fields().count(), message.body(), message.head()));
    message.defect().is_none()
}

fn read_all(view: &Message<'_>) {
    let _ = black_box((read::from(view), read::to(view), read::call_id(view), read::cseq(view)));
    let _ = black_box((read::top_via(view), read::first_contact(view), read::only_contact(view)));
    let _ = black_box((read::event(view), read::subscription_state(view), read::content_type(view)));
    let _ =
        black_box((read::expires(view), read::min_expires(view), read::max_forwards(view), read::retry_after(view)));
    let _ = black_box((read::is_identity_encoded(view), read::is_optional_body(view)));
    black_box([
        read::vias(view).count(),
        read::contacts(view).count(),
        read::routes(view).count(),
        read::record_routes(view).count(),
        read::accept(view).count(),
        read::supported(view).count(),
        read::require(view).count(),
        read::unsupported(view).count(),
        read::allow(view).count(),
        read::allow_events(view).count(),
    ]);
    let uri = view.request_uri().unwrap_or_default();
    let _ = black_box(Uri::parse(uri).map(|uri| (uri.params().count(), uri.headers().count(), uri.equivalent(&uri))));
    let _ = black_box((Via::parse(uri), NameAddr::parse(uri), Event::parse(uri), SubscriptionState::parse(uri)));
    let _ = black_box(Host::parse(uri));
}

/// Cuts a stream; the number of messages in it.
///
/// # Safety
/// `len` bytes are at `bytes`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cut_stream(bytes: *const u8, len: usize) -> usize {
    // SAFETY: the caller's promise.
    let bytes = unsafe { core::slice::from_raw_parts(bytes, len) };
    let mut framer = Framer::new(FramerLimits { max_head: 65_536, max_body: 65_536 });
    framer.push(Instant::ZERO, bytes);
    let mut messages = 0usize;
    while let Ok(Some(frame)) = framer.next_message() {
        messages = messages.wrapping_add(usize::from(matches!(frame, Frame::Message(_))));
    }
    messages
}
