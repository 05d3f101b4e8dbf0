# Threads, fibers, children, regular expressions and garbage.
scale = Integer(ENV.fetch("SCALE"))

scale.times do |turn|
  queue = Queue.new
  workers = 4.times.map do |number|
    Thread.new do
      sum = 0
      while (word = queue.pop) != :end
        sum += word.scan(/[aeiou]|\d+/).sum { |part| part.to_i + part.size }
      end
      sum
    end
  end
  2_000.times { |number| queue << "word#{number}of#{turn}" }
  workers.size.times { queue << :end }
  # Which worker took which word is chance; the sum is not.
  puts workers.sum(&:value)

  fiber = Fiber.new { (1..).each { |number| Fiber.yield number * turn } }
  puts Array.new(500) { fiber.resume }.sum
  puts Array.new(20_000) { |number| "#{number} #{number % 7}" }.group_by { |text| text[-1] }.transform_values(&:size).inspect
  reader, writer = IO.pipe
  child = fork do
    reader.close
    writer.puts (1..300).reduce(:*).digits.sum
    exit! turn % 5
  end
  writer.close
  puts reader.read
  _, status = Process.wait2(child)
  puts status.exitstatus
  puts `printf '%s\n' #{turn} | tr 0-9 a-j`
end
puts "#{scale} turns"
