// How far a video is, in frames and time left.

import { inWords } from "../failures.js";

/** Guesses the time left from how fast the progress went so far. */
export class Estimate {
  constructor(now = () => performance.now() / 1000) {
    this.now = now;
    this.first = null;
  }

  /**
   * @param {object} video with its progress, 0 to 100
   * @returns {string} such as "36 of 144 frames, about 8 s left"
   */
  words(video) {
    const { progress } = video;
    const total = video.frames ?? Math.round((video.seconds ?? 0) * video.frames_per_second);
    const made = video.frames_made ?? Math.round((total * progress) / 100);
    const left = this.#left(progress);
    const frames = total ? `${made} of ${total} frames` : `${Math.round(progress)} percent`;
    return left === null ? frames : `${frames}, about ${inWords(left)} left`;
  }

  /** Seconds left; null while that cannot be told. */
  #left(progress) {
    const time = this.now();
    if (progress > 0) this.first ??= { time, progress };
    if (!this.first || progress <= this.first.progress || time - this.first.time < 1 || progress >= 100) return null;
    return ((100 - progress) * (time - this.first.time)) / (progress - this.first.progress);
  }
}
