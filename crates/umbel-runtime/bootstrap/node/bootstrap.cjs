// Runs a Node handler as an instance: asks the Lambda Runtime API for one invocation after another.
// Nothing but Node itself is needed.
'use strict';

const http = require('node:http');
const path = require('node:path');

const [host, port] = process.env.AWS_LAMBDA_RUNTIME_API.split(':');
// One connection, kept for the life of the process.
const agent = new http.Agent({ keepAlive: true, maxSockets: 1 });

function ask(method, what, body, headers) {
  return new Promise((resolve, reject) => {
    const options = { host, port, agent, method, path: `/2018-06-01/runtime/${what}`, headers };
    const request = http.request(options, (reply) => {
      const parts = [];
      reply.on('data', (part) => parts.push(part));
      reply.on('error', reject);
      reply.on('end', () => resolve({ status: reply.statusCode, headers: reply.headers, body: Buffer.concat(parts) }));
    });
    request.setNoDelay(true);
    request.on('error', reject);
    request.end(body);
  });
}

// A refusal (an output over the limit, say) has been recorded by who refused.
function post(what, body, headers = {}) {
  return ask('POST', what, body, { ...headers, 'Content-Length': body.length });
}

function postError(what, error) {
  const report = describe(error);
  const type = report.errorType.replace(/[^\w.-]/g, '');
  const header = { 'Lambda-Runtime-Function-Error-Type': `Function.${type}` };
  return post(what, Buffer.from(JSON.stringify(report)), header);
}

// The stack begins where this file's own frames end; its first lines only repeat the message.
function describe(error) {
  if (!(error instanceof Error)) {
    return { errorType: 'Error', errorMessage: String(error), stackTrace: [] };
  }
  const frames = String(error.stack).split('\n').filter((line) => /^\s+at /.test(line) && !line.includes(__filename));
  return { errorType: error.name, errorMessage: error.message, stackTrace: frames };
}

// What a handler can know of its invocation, by the names that Lambda gave it.
function contextOf(headers) {
  const deadline = Number(headers['lambda-runtime-deadline-ms']);
  return {
    awsRequestId: headers['lambda-runtime-aws-request-id'],
    invokedFunctionArn: headers['lambda-runtime-invoked-function-arn'],
    functionName: process.env.AWS_LAMBDA_FUNCTION_NAME,
    functionVersion: process.env.AWS_LAMBDA_FUNCTION_VERSION,
    memoryLimitInMB: process.env.AWS_LAMBDA_FUNCTION_MEMORY_SIZE,
    logGroupName: process.env.AWS_LAMBDA_LOG_GROUP_NAME,
    logStreamName: process.env.AWS_LAMBDA_LOG_STREAM_NAME,
    callbackWaitsForEmptyEventLoop: false,
    getRemainingTimeInMillis: () => Math.max(0, deadline - Date.now()),
  };
}

// JSON where it is JSON, else text, else the bytes themselves.
function decode(body) {
  const text = body.toString('utf8');
  try {
    return JSON.parse(text);
  } catch {
    return Buffer.from(text, 'utf8').equals(body) ? text : body;
  }
}

// Bytes as they are, everything else as JSON.
function encode(output) {
  if (output instanceof Uint8Array) {
    return Buffer.from(output.buffer, output.byteOffset, output.byteLength);
  }
  return Buffer.from(JSON.stringify(output) ?? 'null');
}

// A handler returns its output or a promise of it, or takes a third argument to call with it.
function run(handler, event, context) {
  return new Promise((resolve, reject) => {
    const callback = (error, output) => (error ? reject(error) : resolve(output));
    const returned = handler(event, context, callback);
    if (handler.length < 3 || typeof returned?.then === 'function') {
      resolve(returned);
    }
  });
}

// `module.function` or `folder/module.function`, from the function's own folder.
async function load(handler) {
  const { dir, base } = path.parse(handler);
  const [name, ...words] = base.split('.');
  const file = path.resolve(process.env.LAMBDA_TASK_ROOT, dir, name);
  let found = await loadModule(file);
  for (const word of words) {
    found = found?.[word];
  }
  if (typeof found !== 'function') {
    throw new TypeError(`module \`${file}\` exports no function \`${words.join('.')}\``);
  }
  return found;
}

// CommonJS first: it is loaded faster, and most functions are.
async function loadModule(file) {
  try {
    return require(file);
  } catch (error) {
    const isModule = error.code === 'ERR_REQUIRE_ESM';
    const isElsewhere = error.code === 'MODULE_NOT_FOUND' && error.message.includes(`'${file}'`);
    if (!isModule && !isElsewhere) {
      throw error;
    }
    const { pathToFileURL } = require('node:url');
    const exact = isModule ? require.resolve(file) : `${file}.mjs`;
    return import(pathToFileURL(exact).href);
  }
}

// What a handler prints goes out by itself, and later where it is much: it belongs to this invocation only
// until that is answered. Kept from before any handler could put something else in its place.
const { write } = process.stdout;

function printed() {
  const streams = [process.stdout, process.stderr].filter((stream) => stream.writableLength > 0);
  return Promise.all(streams.map((stream) => new Promise((done) => { write.call(stream, '', done); })));
}

async function main() {
  let running = null;
  // What cannot be printed (Node itself takes no 2 GiB at a time) is not worth an invocation.
  for (const stream of [process.stdout, process.stderr]) {
    stream.on('error', () => {});
  }
  // What a handler left behind and nobody awaits: this process cannot be trusted any more.
  process.on('uncaughtException', (error) => {
    const told = running === null ? Promise.resolve() : postError(`invocation/${running}/error`, error);
    const leave = () => process.exit(1);
    console.error(error);
    told.then(leave, leave);
  });
  let handler;
  try {
    handler = await load(process.env._HANDLER);
  } catch (error) {
    await postError('init/error', error);
    process.exit(1);
  }
  for (;;) {
    const { headers, body, status } = await ask('GET', 'invocation/next');
    if (status !== 200) {
      throw new Error(`the runtime API answered ${status}: ${body}`);
    }
    const context = contextOf(headers);
    running = context.awsRequestId;
    try {
      const output = encode(await run(handler, decode(body), context));
      await printed();
      await post(`invocation/${running}/response`, output);
    } catch (error) {
      await printed();
      await postError(`invocation/${running}/error`, error);
    }
    running = null;
  }
}

main();
