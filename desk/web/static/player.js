// A player that thinks in frames. Times are asked for in the middle of a frame, so that rounding never shows another one.

const box = document.querySelector(".player");
if (box) {
  const [above, below] = box.dataset.rate.split("/").map(Number);
  const rate = above / below;
  const frames = Number(box.dataset.frames);
  const first = Number(box.dataset.first);
  const screen = box.querySelector(".screen");
  const film = box.querySelector("video.film:not(.other)");
  const other = box.querySelector("video.other");
  const seek = box.querySelector(".seek");
  const head = box.querySelector(".timeline .head");
  const said = box.querySelector("output.frame");
  const acts = Object.fromEntries([...box.querySelectorAll("[data-act]")].map((one) => [one.dataset.act, one]));
  let backwards = 0;
  let playing = false; // what was asked for: seeking to the last frame ends a film too

  const frameOf = (seconds) => Math.min(frames - 1, Math.max(0, Math.floor(seconds * rate + 1e-3)));
  const timeOf = (frame) => (Math.min(frames - 1, Math.max(0, frame)) + 0.5) / rate;
  const now = () => frameOf(film.currentTime);

  function tell(frame) {
    seek.value = frame;
    head.setAttribute("x", frame);
    said.textContent = `${first + frame}`;
    said.value = `${first + frame}`;
  }

  function show(frame) {
    film.currentTime = timeOf(frame);
    if (other) other.currentTime = timeOf(frame);
    tell(Math.min(frames - 1, Math.max(0, frame)));
  }

  function pause() {
    clearInterval(backwards);
    backwards = 0;
    playing = false;
    film.pause();
  }

  function play(speed) {
    clearInterval(backwards);
    backwards = 0;
    if (now() >= frames - 1) show(0);
    playing = true;
    film.playbackRate = speed ?? Number(acts.speed.value);
    film.play();
  }

  function reverse() {
    playing = false;
    film.pause();
    clearInterval(backwards);
    backwards = setInterval(() => (now() ? show(now() - 1) : pause()), 1000 / rate);
  }

  const toggle = () => (film.paused && !backwards ? play() : pause());
  const step = (by) => { pause(); show(now() + by); };

  function follow(_, shown) {
    const frame = frameOf(shown.mediaTime + 0.25 / rate);
    tell(frame);
    // two decoders drift: the second one is set right where it is more than a frame away
    if (other && !film.paused && Math.abs(other.currentTime - film.currentTime) > 1 / rate) other.currentTime = film.currentTime;
    film.requestVideoFrameCallback(follow);
  }
  if (film.requestVideoFrameCallback) film.requestVideoFrameCallback(follow);
  else film.addEventListener("timeupdate", () => tell(now()));

  film.addEventListener("play", () => { acts.play.textContent = "Pause"; if (other) { other.playbackRate = film.playbackRate; other.play(); } });
  film.addEventListener("pause", () => { acts.play.textContent = "Play"; if (other) { other.pause(); other.currentTime = film.currentTime; } });
  film.addEventListener("ended", () => { if (playing && acts.loop.checked) { show(0); play(film.playbackRate); } });
  film.addEventListener("click", toggle);
  seek.addEventListener("input", () => { pause(); show(Number(seek.value)); });
  acts.play.addEventListener("click", toggle);
  acts.back.addEventListener("click", () => step(-1));
  acts.on.addEventListener("click", () => step(1));
  acts.first.addEventListener("click", () => { pause(); show(0); });
  acts.last.addEventListener("click", () => { pause(); show(frames - 1); });
  acts.speed.addEventListener("change", () => { film.playbackRate = Number(acts.speed.value); if (other) other.playbackRate = film.playbackRate; });
  acts.mode?.addEventListener("change", () => {
    screen.dataset.mode = acts.mode.value;
    acts.wipe.closest("label").hidden = acts.mode.value !== "wipe";
    other.currentTime = film.currentTime;
  });
  acts.wipe?.addEventListener("input", () => screen.style.setProperty("--wipe", `${acts.wipe.value}%`));
  for (const one of document.querySelectorAll("[data-frame]")) {
    one.addEventListener("click", () => { pause(); show(Number(one.dataset.frame)); film.scrollIntoView({ block: "nearest" }); });
  }

  const keys = {
    j: reverse,
    k: pause,
    l: () => (film.paused ? play(1) : play(Math.min(4, film.playbackRate * 2))),
    " ": toggle,
    arrowleft: (event) => step(event.shiftKey ? -10 : -1),
    arrowright: (event) => step(event.shiftKey ? 10 : 1),
    home: () => { pause(); show(0); },
    end: () => { pause(); show(frames - 1); },
  };
  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || event.target.closest("input:not(.seek), select, textarea")) return;
    if (event.key === " " && event.target.closest("button, a")) return;
    const act = keys[event.key.toLowerCase()];
    if (act) { act(event); event.preventDefault(); }
  });
}
