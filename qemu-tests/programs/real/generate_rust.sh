# Prints a Rust program: generate_rust.sh FUNCTIONS
echo 'trait Weigh { fn weigh(&self) -> u64; }'
for ((number = 0; number < $1; number++)); do
	cat <<-END
		struct Item$number { parts: Vec<u32>, name: String }
		impl Weigh for Item$number {
		    fn weigh(&self) -> u64 {
		        let sum: u64 = self.parts.iter().filter(|part| **part % $((number % 7 + 2)) != 0).map(|part| u64::from(*part)).sum();
		        match self.name.len() % 3 { 0 => sum * $number, 1 => sum.rotate_left($((number % 60))), _ => sum ^ $((number * 7)) }
		    }
		}
	END
done
echo 'fn main() {'
echo '    let mut items: Vec<Box<dyn Weigh>> = Vec::new();'
for ((number = 0; number < $1; number++)); do
	echo "    items.push(Box::new(Item$number { parts: (0..$((number + 3))).collect(), name: format!(\"{}\", $number) }));"
done
echo '    println!("{}", items.iter().fold(0u64, |sum, item| sum.wrapping_mul(31).wrapping_add(item.weigh())));'
echo '}'
