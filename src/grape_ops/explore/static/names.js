// Names of genes beside their dots: moved to another side, or left out, where they would overlap.

export const FONT = 11.5; // px
const HEIGHT = FONT * 1.25;
const SIDES = [
  ["top center", 0, -1],
  ["bottom center", 0, 1],
  ["middle right", 1, 0],
  ["middle left", -1, 0],
];
const pen = document.createElement("canvas").getContext("2d");

const overlap = (a, b) => a.left < b.right && b.left < a.right && a.top < b.bottom && b.top < a.bottom;

/** Where the name would stand on one side of its dot; `gap` is from the dot's centre. */
function area({ x, y, width }, [, across, down], gap) {
  const left = across ? x + across * gap - (across < 0 ? width : 0) : x - width / 2;
  const top = down ? y + down * gap - (down < 0 ? HEIGHT : 0) : y - HEIGHT / 2;
  return { left, right: left + width, top, bottom: top + HEIGHT };
}

/**
 * The side of each name, or null where it is left out: names are { x, y, text, bold } in pixels, the most important
 * first; dots are [x, y] in pixels; `gap` is from a dot's centre to its name, `box` the plot's { width, height }.
 */
export function placed(names, dots, gap, box) {
  const taken = [];
  const inside = (area) => area.left >= 0 && area.right <= box.width && area.top >= 0 && area.bottom <= box.height;
  const hidesDot = (area, own) =>
    dots.some(
      ([x, y]) =>
        (x !== own.x || y !== own.y) && x > area.left && x < area.right && y > area.top && y < area.bottom,
    );
  return names.map((name) => {
    pen.font = `${name.bold ? "bold " : ""}${FONT}px system-ui, sans-serif`;
    const own = { ...name, width: pen.measureText(name.text).width + 2 };
    const free = SIDES.map((side) => [side, area(own, side, gap)]).filter(
      ([, place]) => inside(place) && !taken.some((other) => overlap(other, place)),
    );
    // A name that hides no dot is better than one in the usual place.
    const [side, place] = free.find(([, place]) => !hidesDot(place, own)) || free[0] || [];
    if (place) taken.push(place);
    return side ? side[0] : null;
  });
}
