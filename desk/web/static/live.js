// Keeps a part of the page as the house is now. Where the connection is lost, that is said, and the browser tries again.

const part = document.getElementById("live");
const line = document.getElementById("line");
const events = new EventSource(part.dataset.events);
events.addEventListener("message", (event) => {
  if (part.innerHTML.trim() !== event.data.trim()) part.innerHTML = event.data;
  line.textContent = `as of ${new Date().toLocaleTimeString()}`;
});
events.addEventListener("error", () => { line.textContent = "The connection is lost; trying again."; });
addEventListener("pagehide", () => events.close());
