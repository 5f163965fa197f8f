// The size of an image that is made to fit into a box and keeps its proportions.
'use strict';

// An image with a side of no length has no proportions to keep.
class EmptyImage extends Error {
  name = 'EmptyImage';
}

exports.handler = async (event, context) => {
  // Numbers may be text: that is what a CSV file has.
  const [width, height, box] = [event.width, event.height, event.box].map(Number);
  if (width <= 0 || height <= 0) {
    console.log(`invocation ${context.awsRequestId} has a strange image`);
    throw new EmptyImage(`${width}x${height}`);
  }
  const longer = Math.max(width, height);
  if (longer <= box) {
    return `${width}x${height}`;
  }
  return `${scaled(width, box, longer)}x${scaled(height, box, longer)}`;
};

function scaled(side, box, longer) {
  return Math.max(1, Math.floor((side * box) / longer));
}
