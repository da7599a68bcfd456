// Plays a fragmented MP4 while it grows.

import { happens, wait } from "../elements.js";
import { Failure, noAnswer } from "../failures.js";
import { typeOf } from "./mp4.js";

/** How often a lost connection is opened anew, and the first wait, which doubles, milliseconds. */
const TRIES = 6;
const FIRST_WAIT = 500;
/** How much may be missing of a video that is complete, seconds. */
const TOLERANCE = 0.5;
/** What stays before the place that is shown when the browser's memory for the video is full, seconds. */
const KEPT = 10;

/** The browser cannot show a video that grows: it may show it when it is complete. */
export class CannotGrow extends Failure {}

/**
 * Plays a video while it comes; done when all of it has come.
 * @param {HTMLVideoElement} video where it is shown
 * @param {() => Promise<Response>} open asks for the video, from its beginning
 * @param {{signal: AbortSignal, seconds?: number | null}} options ends it; how long the video will be
 * @throws {CannotGrow} if the browser lacks what it takes
 * @throws {Failure} if the video stops coming
 */
export async function playGrowing(video, open, { signal, seconds }) {
  // An iPhone has the managed kind only.
  const Source = globalThis.MediaSource ?? globalThis.ManagedMediaSource;
  if (!Source) throw new CannotGrow("This browser cannot play a video while it is made. It is shown when it is complete.");
  const source = new Source();
  video.disableRemotePlayback = Source !== globalThis.MediaSource;
  const url = URL.createObjectURL(source);
  video.src = url;
  try {
    await happens(source, "sourceopen", signal);
  } finally {
    URL.revokeObjectURL(url);
  }
  const sink = new Sink(video, source, seconds, signal);
  for (let tries = 0; ; tries++) {
    const before = sink.progress();
    try {
      await pour(await open(), sink);
      sink.end();
      return;
    } catch (error) {
      signal.throwIfAborted();
      if (video.error) throw new CannotGrow(`This browser cannot play the video while it is made (${video.error.message}).`);
      if (error instanceof Failure && !error.passing) throw error;
      if (sink.progress() > before) tries = 0;
      if (tries === TRIES) throw error instanceof Failure ? error : noAnswer();
      await wait(FIRST_WAIT * 2 ** tries, signal);
      sink.restart();
    }
  }
}

async function pour(response, sink) {
  const reader = response.body.getReader();
  try {
    for (;;) {
      const { done, value } = await reader.read();
      if (done) return;
      await sink.take(value);
    }
  } finally {
    reader.cancel().catch(() => {});
  }
}

/** Takes bytes for a media source, whose type is known when the first of them have come. */
class Sink {
  constructor(video, source, seconds, signal) {
    Object.assign(this, { video, source, seconds, signal });
    this.buffer = null;
    this.head = new Uint8Array();
  }

  /** Where the part of the video that has come ends, seconds. */
  progress() {
    const { buffered } = this.video;
    return buffered.length ? buffered.end(buffered.length - 1) : 0;
  }

  async take(chunk) {
    if (this.buffer) return this.#append(chunk);
    const head = new Uint8Array(this.head.length + chunk.length);
    head.set(this.head);
    head.set(chunk, this.head.length);
    this.head = head;
    const type = typeOf(head);
    if (!type) return;
    if (!this.source.constructor.isTypeSupported(type)) {
      throw new CannotGrow(`This browser cannot play ${type}.`);
    }
    this.buffer = this.source.addSourceBuffer(type);
    await this.#append(head);
    if (this.seconds && this.source.duration > this.seconds) this.source.duration = this.seconds;
  }

  async #append(chunk) {
    for (;;) {
      try {
        this.buffer.appendBuffer(chunk);
        break;
      } catch (error) {
        if (error.name !== "QuotaExceededError") throw error;
        await this.#forget();
      }
    }
    await happens(this.buffer, "updateend", this.signal);
  }

  /** The browser's memory is full: drops what was shown already, when there is some. */
  async #forget() {
    const end = this.video.currentTime - KEPT;
    const { buffered } = this.buffer;
    if (!buffered.length || buffered.start(0) >= end) return wait(1000, this.signal);
    this.buffer.remove(0, end);
    await happens(this.buffer, "updateend", this.signal);
  }

  /** The same video comes once more from its beginning: what came again takes the place of what was there. */
  restart() {
    if (this.buffer) this.buffer.abort();
    else this.head = new Uint8Array();
  }

  /** All has come; an error if the connection ended before that. */
  end() {
    if (!this.buffer) throw noAnswer();
    if (this.seconds && this.progress() < this.seconds - TOLERANCE) throw noAnswer();
    if (this.source.readyState === "open") this.source.endOfStream();
  }
}
