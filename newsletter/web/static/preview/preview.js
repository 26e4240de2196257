// Looks each second whether the letter has changed, and shows it anew where it was scrolled to.
"use strict";

const EVERY = 1000; // milliseconds
const KEPT = "newsletter-preview-scroll";
const frame = document.querySelector("iframe");
const box = document.querySelector("main");
let seen = document.body.dataset.mark;

function places() {
  const inside = frame && frame.contentWindow;
  return [box.scrollTop, inside ? inside.scrollY : 0, location.search];
}

function scrollBack() {
  const kept = JSON.parse(sessionStorage.getItem(KEPT) || "null");
  sessionStorage.removeItem(KEPT);
  if (!kept || kept[2] !== location.search) return;
  box.scrollTop = kept[0];
  if (frame) {
    const there = () => frame.contentWindow.scrollTo(0, kept[1]);
    frame.addEventListener("load", there);
    there();
  }
}

async function look() {
  try {
    const answer = await fetch("mark", { cache: "no-store" });
    const now = await answer.text();
    document.body.classList.remove("gone");
    if (answer.ok && now !== seen) {
      seen = now;
      sessionStorage.setItem(KEPT, JSON.stringify(places()));
      location.reload();
      return;
    }
  } catch {
    document.body.classList.add("gone"); // the preview was ended
  }
  setTimeout(look, EVERY);
}

scrollBack();
setTimeout(look, EVERY);
