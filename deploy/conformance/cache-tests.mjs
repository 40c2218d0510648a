// Runs the public HTTP cache tests against tidegate-edge and says what passes.
//
//   node deploy/conformance/cache-tests.mjs --suite DIR [--edge target/release/tidegate-edge] [--runs 3] [--id TEST]
//
// DIR is a checkout of the suite (github.com/http-tests/cache-tests) after `npm install --omit=dev`. A test counts when
// it passed in every run. Ends with 1 when a required test failed or fewer than --optimal tests (90) passed.
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, mkdtempSync } from 'node:fs'
import net from 'node:net'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { parseArgs } from 'node:util'
import { fileURLToPath, pathToFileURL } from 'node:url'

const here = path.dirname(fileURLToPath(import.meta.url))
const { values: args } = parseArgs({
  options: {
    suite: { type: 'string' },
    edge: { type: 'string', default: 'target/release/tidegate-edge' },
    runs: { type: 'string', default: '3' },
    optimal: { type: 'string', default: '90' },
    id: { type: 'string', default: '' }
  }
})
if (!args.suite || !existsSync(path.join(args.suite, 'test-engine/cli.mjs'))) {
  console.error('--suite DIR: a checkout of the suite is needed')
  process.exit(2)
}

const dir = mkdtempSync(path.join(tmpdir(), 'cache-tests-'))
const children = []
process.on('exit', () => children.forEach((child) => child.kill()))

async function freePort () {
  const server = net.createServer().listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address()
  server.close()
  await once(server, 'close')
  return port
}

async function listening (port, child) {
  for (let tries = 0; tries < 200; tries++) {
    if (child.exitCode !== null) throw new Error(`ended with ${child.exitCode} before it listened`)
    const socket = net.connect(port, '127.0.0.1')
    const up = await new Promise((resolve) => {
      socket.once('connect', () => resolve(true)).once('error', () => resolve(false))
    })
    socket.destroy()
    if (up) return
    await new Promise((resolve) => setTimeout(resolve, 50))
  }
  throw new Error(`nothing listens on port ${port}`)
}

function start (program, argv, options = {}) {
  const child = spawn(program, argv, { stdio: ['ignore', 'ignore', 'inherit'], ...options })
  children.push(child)
  return child
}

async function text (program, argv, options) {
  const child = spawn(program, argv, { stdio: ['ignore', 'pipe', 'ignore'], ...options })
  let all = ''
  child.stdout.on('data', (data) => { all += data })
  await once(child, 'close')
  return all
}

const originPort = await freePort()
const origin = start('node', ['--no-warnings', '--require', path.join(here, 'loopback.cjs'), 'test-engine/server/server.mjs'], {
  cwd: args.suite,
  env: { ...process.env, npm_config_protocol: 'http', npm_config_port: `${originPort}`, npm_config_pidfile: path.join(dir, 'pid') }
})
await listening(originPort, origin)

const edgePort = await freePort()
const config = path.join(here, 'cache-tests.toml')
const edge = start(args.edge, [
  'serve', '--config', config,
  '--set', `listen.http=["127.0.0.1:${edgePort}"]`,
  '--set', `property=[${property(originPort)}]`
])
await listening(edgePort, edge)

// By the letter of RFC 9111, as the one-line form has it: answers with cookies are kept when they are explicitly fresh, and stale ones are served when nobody answers.
function property (port) {
  return `{ id = "suite", hosts = ["*"], origins = [{ authority = "127.0.0.1:${port}" }], cache = { set_cookie = "fresh", stale_if_unreachable = "1h" } }`
}

const env = { ...process.env, npm_config_base: `http://127.0.0.1:${edgePort}`, npm_config_id: args.id, npm_package_config_id: '' }
const run = () => text('node', ['--no-warnings', 'test-engine/cli.mjs'], { cwd: args.suite, env })

if (args.id) {
  console.log(await run())
  process.exit(0)
}
const load = (file) => import(pathToFileURL(path.resolve(args.suite, file)))
const suites = (await load('tests/index.mjs')).default
const { determineTestResult, resultTypes } = await load('test-engine/lib/results.mjs')
const runs = []
for (let n = 0; n < Number(args.runs); n++) runs.push(JSON.parse(await run()))

const isPass = (verdict) => verdict === resultTypes.pass || verdict === resultTypes.yes
const nameOf = (verdict) => Object.keys(resultTypes).find((key) => resultTypes[key] === verdict)
const tally = {}
const cdn = {}
for (const suite of suites) {
  for (const test of suite.tests.filter((test) => !test.browser_only)) {
    const kind = test.kind ?? 'required'
    const verdicts = runs.map((results) => determineTestResult(suites, test.id, results, true))
    const passed = verdicts.every(isPass)
    const groups = [tally[kind] ??= { passed: 0, of: 0, missed: [], flaky: [] }]
    if (suite.id === 'cdn-cache-control') groups.push(cdn[kind] ??= { passed: 0, of: 0, missed: [], flaky: [] })
    for (const group of groups) {
      group.of++
      if (passed) group.passed++
      else group.missed.push(`${test.id} (${nameOf(verdicts.find((verdict) => !isPass(verdict)))})`)
      if (new Set(verdicts).size > 1) group.flaky.push(test.id)
    }
  }
}
for (const [kind, group] of Object.entries(tally)) {
  console.log(`${kind}: ${group.passed}/${group.of}`)
  if (kind !== 'check') group.missed.forEach((missed) => console.log(`  ${missed}`))
  group.flaky.forEach((id) => console.log(`  not the same in every run: ${id}`))
}
for (const [kind, group] of Object.entries(cdn)) console.log(`CDN-Cache-Control, ${kind}: ${group.passed}/${group.of}`)
const good = tally.required.passed === tally.required.of && tally.optimal.passed >= Number(args.optimal)
process.exit(good ? 0 : 1)
