/**
 * Reads the `text/event-stream` format: pure, fed with whatever pieces the network cuts it into.
 *
 * It is read here, and not by EventSource, because that one hides what a truthful client must know: the status
 * of a refusal, and the comments that prove a quiet stream to be alive. Rules: the HTML standard, "Server-sent
 * events", 9.2.6. Event names and ids are not used: the frame in `data` has its own type and place.
 *
 * @param {(data: string) => void} message
 * @returns {(text: string) => void} takes the next piece
 */
export function eventStream(message) {
  let rest = "";
  let data = [];

  function line(text) {
    if (text === "") {
      if (data.length) message(data.join("\n"));
      data = [];
    } else if (text.startsWith("data:")) {
      data.push(text.slice(text[5] === " " ? 6 : 5));
    }
  }

  return (text) => {
    const lines = (rest + text).split(/\r\n|\n|\r(?=[^\n])/);
    rest = lines.pop();
    lines.forEach(line);
  };
}
