// One WebRTC connection: the microphone goes to the server, picture and voice of the portrait come back.

import { remove, request } from "../api.js";
import { happens, wait } from "../elements.js";
import { Failure } from "../failures.js";

/** How long to wait for the addresses of this machine, for the connection, and for one that is interrupted, ms. */
const GATHERING = 2000;
const CONNECTING = 15000;
const INTERRUPTED = 4000;

/**
 * A connection. Events: `said` with what the server says in its data channel (`event.detail`), and `lost` when the
 * connection has ended without `close`.
 */
export class Call extends EventTarget {
  /**
   * Opens a connection.
   * @param {{portrait: string, microphone: MediaStream, iceServers?: object[], signal: AbortSignal}} options
   * @returns {Promise<Call>} when it is connected
   * @throws {Failure} if the server refuses, or cannot be reached
   */
  static async open({ portrait, microphone, iceServers, signal }) {
    const call = new Call(iceServers);
    try {
      await call.#connect(portrait, microphone, signal);
      return call;
    } catch (error) {
      call.close();
      throw error;
    }
  }

  constructor(iceServers = []) {
    super();
    this.peer = new RTCPeerConnection({ iceServers, bundlePolicy: "max-bundle" });
    this.stream = new MediaStream();
    this.place = null;
    this.ended = new AbortController();
    this.events = this.peer.createDataChannel("events");
    const { signal } = this.ended;
    this.peer.addEventListener("track", ({ track }) => this.stream.addTrack(track), { signal });
    this.events.addEventListener("message", ({ data }) => this.#say("said", JSON.parse(data)), { signal });
  }

  async #connect(portrait, microphone, signal) {
    const { peer } = this;
    if (!microphone.getAudioTracks().length) throw new Failure("The microphone gives no sound. Choose another one in the browser.");
    for (const track of microphone.getAudioTracks()) peer.addTransceiver(track, { direction: "sendrecv", streams: [microphone] });
    peer.addTransceiver("video", { direction: "recvonly" });
    await peer.setLocalDescription();
    await this.#gathered(signal);
    const response = await request(`v1/live?portrait=${encodeURIComponent(portrait)}`, {
      method: "POST",
      headers: { "Content-Type": "application/sdp" },
      body: peer.localDescription.sdp,
      signal,
    });
    this.place = placeOf(response.headers.get("Location"));
    await peer.setRemoteDescription({ type: "answer", sdp: await response.text() });
    await this.#connected(signal);
    peer.addEventListener("connectionstatechange", () => this.#changed(), { signal: this.ended.signal });
    this.events.addEventListener("close", () => this.#lose(), { signal: this.ended.signal });
  }

  /** All addresses go with the offer, as far as they are known in time. */
  async #gathered(signal) {
    const until = performance.now() + GATHERING;
    while (this.peer.iceGatheringState !== "complete" && performance.now() < until) await wait(20, signal);
  }

  async #connected(signal) {
    const { peer } = this;
    const until = performance.now() + CONNECTING;
    while (peer.connectionState !== "connected") {
      if (peer.connectionState === "failed" || performance.now() > until) {
        throw new Failure("The server answers, but sound and picture do not reach it. A firewall may block them: ask the person who runs the server.", { passing: true });
      }
      await wait(50, signal);
    }
    if (this.events.readyState === "connecting") await Promise.race([happens(this.events, "open", signal), wait(CONNECTING, signal)]);
  }

  async #changed() {
    const { peer } = this;
    if (peer.connectionState === "disconnected") {
      // It often comes back by itself.
      await wait(INTERRUPTED, this.ended.signal).catch(() => {});
    }
    if (["disconnected", "failed", "closed"].includes(peer.connectionState)) this.#lose();
  }

  #lose() {
    if (this.ended.signal.aborted) return;
    this.close();
    this.#say("lost");
  }

  #say(name, detail) {
    this.dispatchEvent(new CustomEvent(name, { detail }));
  }

  /** Drops what the portrait has not said yet. */
  async clear() {
    if (this.events.readyState === "open") this.events.send(JSON.stringify({ type: "clear" }));
    else if (this.place) await request(`${this.place}/clear`, { method: "POST" });
  }

  /** Ends the connection. */
  close() {
    this.ended.abort();
    this.peer.close();
    this.stream.getTracks().forEach((track) => track.stop());
    if (this.place) remove(this.place).catch(() => {}); // the server ends a session that nobody hears by itself
    this.place = null;
  }
}

/** The session's path below the page, from the Location of the answer. */
function placeOf(location) {
  return location?.match(/v1\/live\/[^/?#]+$/)?.[0] ?? null;
}
