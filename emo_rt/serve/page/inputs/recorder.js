// Records the microphone and says how loud it is.

import { checkDevices, deviceFailure } from "../failures.js";

/** What a voice is recorded as, the first that the browser knows. */
const TYPES = ["audio/webm;codecs=opus", "audio/mp4", "audio/ogg;codecs=opus"];
/** How a microphone is asked for. */
export const MICROPHONE = { echoCancellation: true, noiseSuppression: true, autoGainControl: true, channelCount: 1 };

/** Opens the microphone. */
export async function openMicrophone() {
  try {
    checkDevices("microphone");
    return await navigator.mediaDevices.getUserMedia({ audio: MICROPHONE });
  } catch (error) {
    throw deviceFailure(error, "microphone");
  }
}

/** Shows the loudness of a stream in a meter; gives a function that stops it. */
export function showLevel(stream, meter) {
  const context = new AudioContext();
  context.resume();
  const analyser = context.createAnalyser();
  context.createMediaStreamSource(stream).connect(analyser);
  const samples = new Float32Array(analyser.fftSize);
  const timer = setInterval(() => {
    analyser.getFloatTimeDomainData(samples);
    const loudness = Math.sqrt(samples.reduce((sum, value) => sum + value * value, 0) / samples.length);
    // 60 decibels over the width: so a quiet voice is seen too.
    meter.value = Math.min(Math.max(1 + Math.log10(loudness + 1e-9) / 3, 0), 1);
  }, 60);
  return () => {
    clearInterval(timer);
    meter.value = 0;
    context.close();
  };
}

/** A recording that runs until `stop` is called, or for `seconds` at most. */
export class Recording {
  static async start(meter, seconds, told) {
    const stream = await openMicrophone();
    return new Recording(stream, meter, seconds, told);
  }

  constructor(stream, meter, seconds, told) {
    this.stream = stream;
    this.began = performance.now();
    const type = TYPES.find((each) => MediaRecorder.isTypeSupported(each));
    this.recorder = new MediaRecorder(stream, type ? { mimeType: type } : {});
    const parts = [];
    this.recorder.addEventListener("dataavailable", (event) => parts.push(event.data));
    const quiet = showLevel(stream, meter);
    const timer = setInterval(() => {
      told(this.seconds);
      if (seconds && this.seconds >= seconds) this.stop();
    }, 200);
    /** The recorded file. */
    this.finished = new Promise((resolve) => {
      this.recorder.addEventListener("stop", () => {
        clearInterval(timer);
        quiet();
        stream.getTracks().forEach((track) => track.stop());
        const made = this.recorder.mimeType.split(";")[0];
        const ending = made.endsWith("mp4") ? "m4a" : made.split("/")[1];
        resolve(new File(parts, `recording.${ending}`, { type: made }));
      });
    });
    // If the microphone is unplugged, what was said so far is kept.
    stream.getAudioTracks()[0].addEventListener("ended", () => this.stop());
    this.recorder.start(500);
  }

  get seconds() {
    return (performance.now() - this.began) / 1000;
  }

  stop() {
    if (this.recorder.state !== "inactive") this.recorder.stop();
  }
}
